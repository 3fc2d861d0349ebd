//go:build unix

// Package browser_test uses the Swagger UI of `docket dev`, and the client, in a browser.
package browser_test

import (
	"os"
	"path/filepath"
	"testing"

	"docket/contract"
	"docket/e2e/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

func TestSwaggerUIWorksInABrowser(t *testing.T) {
	t.Parallel()
	args := []string{contract.Proxy(t, testenv.StartDev(t).URL)}
	if os.Getenv("UPDATE_SCREENSHOT") == "1" {
		args = append(args, "../../docs/swagger-ui.png")
	}
	testenv.Browse(t, "swagger-ui.mjs", args...)
}

func TestDueDaysAreThoseOfTheirOwnerInEveryTimeZone(t *testing.T) {
	t.Parallel()
	client, err := filepath.Abs(testenv.NPMFolder(t, "clients/typescript"))
	if err != nil {
		t.Fatal(err)
	}
	dev := testenv.StartDev(t)
	testenv.Browse(t, "zones.mjs", client, contract.Proxy(t, dev.URL), dev.Token)
}
