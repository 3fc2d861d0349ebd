//go:build unix

// Package browser_test uses the Swagger UI of `docket dev` in a browser.
package browser_test

import (
	"os"
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
