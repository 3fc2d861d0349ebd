package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// module is a Go module that a binary is built from. The standard library is one, named std.
type module struct {
	path, version string
	sum           string // as in go.sum, h1:…; empty for the standard library
	license       string // SPDX identifier, as docs/third-party.md says
	dir           string // its sources
}

// readModules returns the modules that a binary says it is built from, sorted as there, and then the standard library.
func (r *release) readModules(ctx context.Context, binary string) ([]module, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	page, err := os.ReadFile(filepath.Join(r.source, "docs", "third-party.md"))
	if err != nil {
		return nil, err
	}
	goroot, err := r.command(ctx, r.source, nil, "go", "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	list, err := r.command(ctx, r.source, []string{"GOFLAGS=-mod=readonly"}, "go", "list", "-m", "-f", "{{.Path}} {{.Dir}}", "all")
	if err != nil {
		return nil, err
	}
	dirs := map[string]string{}
	for line := range strings.Lines(list) {
		path, dir, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		dirs[path] = dir
	}
	var modules []module
	for _, m := range info.Deps {
		if m.Replace != nil {
			return nil, fmt.Errorf("%s is replaced: a release is built from published modules", m.Path)
		}
		license := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(m.Path) + ` \| (\S+) \|$`).FindSubmatch(page)
		if license == nil {
			return nil, fmt.Errorf("docs/third-party.md does not list %s", m.Path)
		}
		modules = append(modules, module{m.Path, m.Version, m.Sum, string(license[1]), dirs[m.Path]})
	}
	return append(modules, module{"std", strings.TrimPrefix(info.GoVersion, "go"), "", "BSD-3-Clause", goroot}), nil
}

// purl returns the module's package URL.
func (m module) purl() string {
	return "pkg:golang/" + m.path + "@" + strings.ReplaceAll(m.version, "+", "%2B") + "?type=module"
}

// writeBill writes the bill of materials of a binary, in the format CycloneDX. It has no serial number, and its time is
// that of the commit.
func (r *release) writeBill(name, binary string, modules []module) error {
	content, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	main := module{path: "docket", version: "v" + r.version}
	bill := cdx.NewBOM()
	bill.Metadata = &cdx.Metadata{
		Timestamp: r.time.Format("2006-01-02T15:04:05Z"),
		Component: &cdx.Component{
			BOMRef: main.purl(), Type: cdx.ComponentTypeApplication, Name: main.path, Version: main.version, PackageURL: main.purl(),
			Licenses: licenses("MIT"),
			Hashes:   &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: fmt.Sprintf("%x", sha256.Sum256(content))}},
		},
	}
	var components []cdx.Component
	var refs []string
	for _, m := range modules {
		c := cdx.Component{
			BOMRef: m.purl(), Type: cdx.ComponentTypeLibrary, Name: m.path, Version: m.version, PackageURL: m.purl(),
			Scope: cdx.ScopeRequired, Licenses: licenses(m.license),
		}
		if m.sum != "" {
			// Not among the hashes: it is the hash of a list of the module's files, and not of any file.
			c.Properties = &[]cdx.Property{{Name: "docket:go.sum", Value: m.sum}}
		}
		components, refs = append(components, c), append(refs, c.BOMRef)
	}
	bill.Components = &components
	bill.Dependencies = &[]cdx.Dependency{{Ref: main.purl(), Dependencies: &refs}}

	var text bytes.Buffer
	if err := cdx.NewBOMEncoder(&text, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bill, cdx.SpecVersion1_6); err != nil {
		return err
	}
	return os.WriteFile(name, text.Bytes(), 0o644)
}

func licenses(id string) *cdx.Licenses {
	return &cdx.Licenses{{License: &cdx.License{ID: id}}}
}

// printLicenses prints the licenses of a binary that was built from the sources of this repository.
func printLicenses(ctx context.Context, binary string) error {
	r := release{source: ".."} // the module of this program is the folder tools
	modules, err := r.readModules(ctx, binary)
	if err != nil {
		return err
	}
	text, err := r.licenses(modules)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(text)
	return err
}

var licensePattern = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([.-].*)?$`)

// licenses returns the texts of the modules' licenses, which must go with the binary.
func (r *release) licenses(modules []module) ([]byte, error) {
	var all bytes.Buffer
	fmt.Fprint(&all, "Docket is built from these modules. Their licenses follow.\n")
	for _, m := range modules {
		entries, err := os.ReadDir(m.dir) // sorted
		if err != nil {
			return nil, err
		}
		found := false
		for _, entry := range entries {
			if entry.IsDir() || !licensePattern.MatchString(entry.Name()) {
				continue
			}
			text, err := os.ReadFile(filepath.Join(m.dir, entry.Name()))
			if err != nil {
				return nil, err
			}
			found = true
			fmt.Fprintf(&all, "\n%s\n%s %s: %s\n\n%s\n", strings.Repeat("=", 80), m.path, m.version, entry.Name(), bytes.TrimSpace(text))
		}
		if !found {
			return nil, fmt.Errorf("%s has no license in %s", m.path, m.dir)
		}
	}
	return all.Bytes(), nil
}
