package due_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"docket/internal/due"
)

var updateZones = flag.Bool("update-zones", false, "copy the time zone database of this Go release to zoneinfo.zip")

// TestZonesAreThoseOfTheGoRelease compares zoneinfo.zip with the database of the Go release in .go-version. Update it
// with `go test ./internal/due -run TestZonesAre -update-zones`.
func TestZonesAreThoseOfTheGoRelease(t *testing.T) {
	t.Parallel()
	pinned, err := os.ReadFile("../../.go-version")
	if err != nil {
		t.Fatal(err)
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(goroot)), "lib", "time", "zoneinfo.zip"))
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case *updateZones:
		if err := os.WriteFile("zoneinfo.zip", want, 0o644); err != nil {
			t.Fatal(err)
		}
	case due.Zoneinfo == string(want):
	case runtime.Version() != "go"+strings.TrimSpace(string(pinned)):
		t.Logf("the database of %s differs from the embedded one, which is that of %s", runtime.Version(), pinned)
	default:
		t.Error("zoneinfo.zip is not that of this Go release: run this test with -update-zones")
	}
}
