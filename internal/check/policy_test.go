package check

import (
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
)

func document(t testing.TB, text string) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// withPolicy returns a document whose operations have the given policy: one with a body and one without.
func withPolicy(policy string) string {
	text := strings.Replace(madeUp, "x-policy: {timeout: 1s, admission: none, body: 1KiB}", policy, 1)
	return text + "    get:\n      " + policy + "\n      security: []\n      responses: {'204': {description: Done.}}\n"
}

func TestAPolicyIsReadFromTheDocument(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Policy{
		"{timeout: 10s, admission: owner, body: 64KiB}":               {Timeout: 10 * time.Second, Admission: AdmissionOwner, Body: 64 << 10},
		"{timeout: 30s, admission: owner, body: 512KiB}":              {Timeout: 30 * time.Second, Admission: AdmissionOwner, Body: 512 << 10},
		"{timeout: 5m, admission: owner, body: 5MiB}":                 {Timeout: 5 * time.Minute, Admission: AdmissionOwner, Body: 5 << 20},
		"{timeout: 1s, admission: none, body: 1MiB, compress: true}":  {Timeout: time.Second, Admission: AdmissionNone, Body: 1 << 20, Compress: true},
		"{timeout: none, admission: none, stream: true, body: 1KiB}":  {Admission: AdmissionNone, Stream: true, Body: 1 << 10},
		"{timeout: 5m, admission: owner, stream: true, body: 1KiB}":   {Timeout: 5 * time.Minute, Admission: AdmissionOwner, Stream: true, Body: 1 << 10},
		"{timeout: 1s, admission: none, body: 1KiB, compress: false}": {Timeout: time.Second, Admission: AdmissionNone, Body: 1 << 10},
	} {
		doc := document(t, strings.Replace(withPolicy("x-policy: "+text), "security: []", "security: [{token: []}]", 1))
		if op, err := Compile(doc, "POST /made/up"); err != nil || op.Policy != want {
			t.Errorf("%s: %+v, %v", text, op, err)
		}
	}
}

func TestAnOperationWithoutACompletePolicyIsRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ method, policy, want string }{
		{"GET", "description: none", "the document has no x-policy"},
		{"GET", "x-policy: 10s", "x-policy: "},
		{"GET", "x-policy: {admission: none}", "timeout \"\" is"},
		{"GET", "x-policy: {timeout: 10s}", "admission must be"},
		{"GET", "x-policy: {timeout: 10s, admission: everybody}", "admission must be"},
		{"GET", "x-policy: {timeout: 10s, admission: owner}", "no owner"},
		{"GET", "x-policy: {timeout: 10s, admission: none, body: 1KiB}", "body must be"},
		{"POST", "x-policy: {timeout: 10s, admission: none}", "body must be"},
		{"POST", "x-policy: {timeout: 10s, admission: none, body: 0}", "x-policy: "},
		{"POST", "x-policy: {timeout: 10s, admission: none, body: 1.5}", "x-policy: "},
		{"POST", "x-policy: {timeout: 10s, admission: none, body: 64kB}", "x-policy: "},
		{"POST", "x-policy: {timeout: 10s, admission: none, body: 64}", "x-policy: "},
		{"POST", "x-policy: {timeout: 10s, admission: none, body: KiB}", "x-policy: "},
		{"POST", "x-policy: {timeout: 10s, admission: none, body: 1KiBMiB}", "x-policy: "},
		{"POST", "x-policy: {timeout: 10s, admission: none, body: much}", "x-policy: "},
		{"POST", "x-policy: {timeout: 10s, admission: none, body: -1KiB}", "x-policy: "},
		{"GET", "x-policy: {timeout: none, admission: none}", "only a stream"},
		{"GET", "x-policy: {timeout: 10, admission: none}", "x-policy: "},
		{"GET", "x-policy: {timeout: -1s, admission: none}", "neither a duration nor none"},
		{"GET", "x-policy: {timeout: 1s, admission: none, compress: true, stream: true}", "a stream is not compressed"},
		{"GET", "x-policy: {timeout: 1s, admission: none, compress: perhaps}", "Compress"},
		{"GET", "x-policy: {timeout: 1s, admission: none, retries: 3}", "retries"},
	} {
		if _, err := Compile(document(t, withPolicy(test.policy)), test.method+" /made/up"); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s, %s: %v, want %q", test.method, test.policy, err, test.want)
		}
	}
}

func TestADocumentThatCannotBeEnforcedIsRefused(t *testing.T) {
	t.Parallel()
	const path = "  /made/up/{id}:\n    get:\n      x-policy: {timeout: 1s, admission: none}\n      security: []\n      responses: {'204': {description: Done.}}\n      parameters: "
	for text, want := range map[string]string{
		strings.Replace(madeUp, "application/json", "text/csv", 1):                                                      "a request body of text/csv is not supported",
		madeUp + path + "[{name: id, in: path, required: true, schema: {type: string}}]":                                "x-resource must name one of",
		madeUp + path + "[{name: id, in: path, required: true, schema: {type: string}, x-resource: house}]":             "x-resource must name one of",
		madeUp + path + "[{name: id, in: cookie, schema: {type: string}}]":                                              "in cookie is not supported",
		madeUp + path + "[{name: id, in: query, schema: {type: object}}]":                                               "its type is not supported",
		madeUp + path + "[{name: id, in: query, explode: false, schema: {type: array, items: {type: string}}}]":         "only form style",
		madeUp + path + "[{name: id, in: query, style: spaceDelimited, schema: {type: array, items: {type: integer}}}]": "only form style",
		strings.Replace(madeUp, "maxLength: 3}", "maxLength: 3, x-equals: id}", 1):                                      "the path has no id",
		strings.Replace(madeUp, "maxLength: 3}", "maxLength: 3, x-equals: user_id}", 1):                                 "the path has no user_id",
		strings.Replace(madeUp, "maxLength: 3}", "maxLength: 3, x-condition: If-Modified-Since}", 1):                    "no header with entity tags",
	} {
		pattern := "GET /made/up/{id}"
		if !strings.HasPrefix(text, madeUp) {
			pattern = "POST /made/up"
		}
		if _, err := Compile(document(t, text), pattern); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := Compile(document(t, madeUp), "GET /elsewhere"); err == nil {
		t.Error("an operation that is not in the document is compiled")
	}
}

// madeUp is a document with one operation.
const madeUp = `
openapi: 3.0.3
info: {title: Made up, version: "1"}
paths:
  /made/up:
    post:
      x-policy: {timeout: 1s, admission: none, body: 1KiB}
      security: []
      requestBody:
        required: true
        content:
          application/json:
            schema:
              type: object
              additionalProperties: false
              required: [title]
              properties:
                title: {type: string, minLength: 1, maxLength: 3}
      responses:
        '204': {description: Done.}
`
