package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// document is a small document with an item of each kind.
const document = `openapi: 3.0.3
info: {title: Small, version: 1.0.0}
paths:
  /things/{id}:
    parameters:
      - {name: id, in: path, required: true, schema: {type: string}}
    put:
      operationId: putThing
      x-policy: {timeout: 10s}
      parameters:
        - {name: dry, in: query, schema: {type: boolean}}
      requestBody:
        content:
          application/json:
            examples: {red: {value: {color: red}}}
      responses:
        '200':
          description: Put.
          headers: {ETag: {schema: {type: string}}}
          content: {application/json: {examples: {put: {value: {color: red}}}}}
        '404': {$ref: '#/components/responses/Missing'}
components:
  responses:
    Missing:
      description: Missing.
      content: {application/json: {examples: {none: {value: {}}}}}
`

// Lines of a log that together exercise the whole document.
const (
	accepted = `{"operation":"putThing","status":200,"valid":["path id","query dry"],"body":"application/json red","example":"put","headers":["ETag"]}` + "\n"
	missing  = `{"operation":"putThing","status":404,"invalid":["path id"],"example":"none"}` + "\n"
	refused  = `{"operation":"putThing","status":404,"invalid":["query dry"]}` + "\n"
)

// runMatrix runs the command with a document and a log, and returns its output.
func runMatrix(t *testing.T, document, log string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	files := []string{filepath.Join(dir, "openapi.yaml"), filepath.Join(dir, "log")}
	for i, text := range []string{document, log} {
		if err := os.WriteFile(files[i], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	err := run(files, &out)
	return out.String(), err
}

func TestFullyExercisedDocumentIsReportedAs100Percent(t *testing.T) {
	t.Parallel()
	out, err := runMatrix(t, document, accepted+missing+refused)
	if err != nil || !strings.Contains(out, "10 of 10, 100 %\n") || strings.Contains(out, "not exercised") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestItemsThatAreNotExercisedAreReportedAsFailure(t *testing.T) {
	t.Parallel()
	for log, want := range map[string]string{
		missing + refused:  "not exercised: putThing: status 200\n",
		accepted + refused: "not exercised: Missing: response example none\n",
		accepted + missing: "not exercised: putThing: invalid parameter query dry\n",
	} {
		out, err := runMatrix(t, document, log)
		if err == nil || !strings.Contains(out, want) || strings.Contains(out, "100 %") {
			t.Errorf("got the error %v, want one and %q in the output:\n%s", err, want, out)
		}
	}
}

func TestEntriesThatDoNotFitTheDocumentAreRefused(t *testing.T) {
	t.Parallel()
	for name, document := range map[string]string{
		"putThing: valid parameter query dry":            strings.Replace(document, "name: dry", "name: wet", 1),
		"putThing: status 200":                           strings.Replace(document, "'200'", "'201'", 1),
		"putThing: request example application/json red": strings.Replace(document, "{red: ", "{blue: ", 1),
		"Missing: response example none":                 strings.Replace(document, "{none: ", "{nil: ", 1),
		"putThing: response header 200 ETag":             strings.Replace(document, "{ETag: ", "{Etag: ", 1),
	} {
		if _, err := runMatrix(t, document, accepted+missing+refused); err == nil || !strings.Contains(err.Error(), name+" was exercised but is not in the document") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, log := range []string{"", "{}\n", "not JSON\n"} {
		if _, err := runMatrix(t, document, log); err == nil {
			t.Errorf("the log %q passes", log)
		}
	}
}
