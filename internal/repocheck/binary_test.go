package repocheck_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var updateLicences = flag.Bool("update-licences", false, "write docs/third-party.md")

func TestBinaryHasNoTestingPackage(t *testing.T) {
	t.Parallel()
	// depguard checks only our own imports. This test covers those of third-party modules.
	for name := range strings.FieldsSeq(run(t, "go", "list", "-deps", "./cmd/docket")) {
		if name == "testing" {
			t.Errorf("cmd/docket depends on %s", name)
		}
	}
}

// TestThirdPartyLicencesAreListed compares docs/third-party.md with the modules that the binary is built from. Update it
// with `go test ./internal/repocheck -run TestThirdParty -update-licences`.
func TestThirdPartyLicencesAreListed(t *testing.T) {
	t.Parallel()
	type module struct{ Path, Version, Dir string }
	modules := map[string]module{}
	for d := json.NewDecoder(strings.NewReader(run(t, "go", "list", "-deps", "-json=Module", "./cmd/docket"))); ; {
		var p struct{ Module *module }
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if p.Module != nil && p.Module.Version != "" {
			modules[p.Module.Path] = *p.Module
		}
	}
	var page strings.Builder
	page.WriteString("# Third-party software\n\nThe binary is built from these modules. A test keeps the list true.\n\n| Module | Licence |\n| --- | --- |\n")
	for _, path := range slices.Sorted(maps.Keys(modules)) {
		fmt.Fprintf(&page, "| %s | %s |\n", path, licenceOf(t, modules[path].Dir))
	}
	page.WriteString("\nSwagger UI, embedded through github.com/swaggest/swgui, is Apache-2.0.\n")
	const file = "docs/third-party.md"
	if *updateLicences {
		if err := os.WriteFile(filepath.Join(root, file), []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if read(t, file) != page.String() {
		t.Errorf("%s is stale: run go test ./internal/repocheck -run TestThirdParty -update-licences", file)
	}
}

// licenceOf names the licence in a module's folder by words that only its text has.
func licenceOf(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "[Ll][Ii][Cc][Ee][Nn][CcSs][Ee]*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no licence in %s: %v", filepath.Base(dir), err)
	}
	raw, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(string(raw)), " ")
	for _, known := range []struct{ words, name string }{
		{"Apache License Version 2.0", "Apache-2.0"},
		{"Apache License, Version 2.0", "Apache-2.0"},
		{"Permission is hereby granted, free of charge", "MIT"},
		{"Neither the name of", "BSD-3-Clause"},
		{"Redistribution and use in source and binary forms", "BSD-2-Clause"},
	} {
		if strings.Contains(text, known.words) {
			return known.name
		}
	}
	t.Fatalf("%s has a licence that is not known here: check that it may be shipped", filepath.Base(dir))
	return ""
}
