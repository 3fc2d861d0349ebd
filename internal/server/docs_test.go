package server_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"go.yaml.in/yaml/v4"

	"docket"
	"docket/contract"
	"docket/internal/api"
	"docket/internal/problem"
)

// plain returns a document as JSON values, for comparison. It omits defaults, as kin does.
func plain(t testing.TB, text []byte) (v any) {
	t.Helper()
	check(t, json.Unmarshal(text, &v))
	return withoutDefaults(v)
}

func withoutDefaults(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = withoutDefaults(v[i])
		}
	case map[string]any:
		for name := range v {
			if name == "minLength" && v[name] == 0.0 || name == "required" && v[name] == false {
				delete(v, name)
				continue
			}
			v[name] = withoutDefaults(v[name])
		}
	}
	return v
}

func TestServedDocumentIsTheFile(t *testing.T) {
	t.Parallel()
	s := start(t)
	file := must(os.ReadFile("../../openapi.yaml"))
	asYAML := s.send(t, "GET", "/openapi.yaml", "").want(http.StatusOK)
	if asYAML.body != string(file) || string(docket.OpenAPI) != string(file) || asYAML.get("Content-Type") != "application/yaml" {
		t.Error("/openapi.yaml is not openapi.yaml")
	}
	var values any
	check(t, yaml.Unmarshal(file, &values))
	want := plain(t, must(json.Marshal(values)))

	asJSON := s.send(t, "GET", "/openapi.json", "").want(http.StatusOK)
	if asJSON.get("Content-Type") != "application/json" {
		t.Errorf("/openapi.json is %s", asJSON.get("Content-Type"))
	}
	if !reflect.DeepEqual(plain(t, []byte(asJSON.body)), want) {
		t.Error("/openapi.json differs from openapi.yaml")
	}
	generated := must(api.GetSpec())
	if !reflect.DeepEqual(plain(t, must(json.Marshal(generated))), want) {
		t.Error("the generated code does not embed the current openapi.yaml: run make generate")
	}
}

func TestDocumentIsValid(t *testing.T) {
	t.Parallel()
	loader := openapi3.NewLoader() // refuses references to other files
	check(t, must(loader.LoadFromData(docket.OpenAPI)).Validate(t.Context()))
	check(t, must(api.GetSpec()).Validate(t.Context()))
}

func TestExamplesOfTheDocumentFitItsSchemas(t *testing.T) {
	t.Parallel()
	for _, op := range contract.Current().Operations {
		for status, response := range op.Responses.Map() {
			for _, media := range response.Value.Content {
				if len(media.Examples) == 0 {
					t.Errorf("%s %s has no example", op.OperationID, status)
				}
				for name, example := range media.Examples {
					for _, fault := range contract.SchemaFaults(name, media.Schema.Value, example.Value.Value) {
						t.Errorf("%s %s: %s", op.OperationID, status, fault)
					}
				}
			}
		}
	}
}

var (
	loads    = regexp.MustCompile(`(?:src|href)="([^"]*)"`)
	external = regexp.MustCompile(`(?i)https?:|(?:src|href)="//|@import|url\(`)
)

func TestSwaggerUILoadsNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	s := start(t)
	page := s.send(t, "GET", "/docs", "").want(http.StatusOK)
	if !strings.HasPrefix(page.get("Content-Type"), "text/html") || external.MatchString(page.body) {
		t.Errorf("the page is %s", page)
	}
	policy := page.get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !slices.Contains(strings.Split(policy, "; "), part) {
			t.Errorf("the policy %q does not say %q", policy, part)
		}
	}
	if strings.Contains(policy, "http") || strings.Contains(policy, "*") || strings.Contains(policy, "unsafe-eval") || regexp.MustCompile(`script-src[^;]*unsafe`).MatchString(policy) {
		t.Errorf("the policy is %q", policy)
	}
	links := loads.FindAllStringSubmatch(page.body, -1)
	if len(links) < 4 {
		t.Fatalf("the page loads %q", links)
	}
	types := map[string]string{".js": "javascript", ".css": "text/css", ".png": "image/png"}
	for _, link := range links {
		if strings.HasPrefix(link[1], "/") {
			t.Errorf("%s is not relative: behind a path prefix it leads elsewhere", link[1])
		}
		link[1] = "/" + link[1] // relative to /docs
		whole := s.send(t, "GET", link[1], "").want(http.StatusOK)
		if typ := types[path.Ext(link[1])]; typ == "" || !strings.Contains(whole.get("Content-Type"), typ) || whole.body == "" {
			t.Errorf("%s is %s", link[1], whole.get("Content-Type"))
		}
		if whole.get("Content-Security-Policy") == "" || whole.get("Content-Encoding") != "" {
			t.Errorf("%s: %v", link[1], whole.header)
		}
		packed := s.send(t, "GET", link[1], "", "Accept-Encoding: gzip").want(http.StatusOK)
		if packed.get("Content-Encoding") == "gzip" && !strings.Contains(strings.Join(packed.header.Values("Vary"), ", "), "Accept-Encoding") {
			t.Errorf("%s: a cache would send the compressed form to clients that do not accept it", link[1])
		}
		if tag := whole.get("ETag"); tag != "" {
			s.send(t, "GET", link[1], "", "If-None-Match: "+tag).want(http.StatusNotModified)
		}
	}
	if a := s.send(t, "GET", "/", "").want(http.StatusSeeOther); a.get("Location") != "/docs" {
		t.Errorf("/ leads to %s", a.get("Location"))
	}
}

func TestSwaggerUIIsAuthorisedOnlyInADemo(t *testing.T) {
	t.Parallel()
	without := start(t).send(t, "GET", "/docs/init.js", "").want(http.StatusOK)
	if !strings.HasPrefix(without.body, "const demoToken = \"\";\n") {
		t.Errorf("the script begins %.100s", without.body)
	}
	with := start(t, func(o *options) { o.DemoToken = func() (string, error) { return `a"b</script>`, nil } })
	a := with.send(t, "GET", "/docs/init.js", "").want(http.StatusOK)
	line, _, _ := strings.Cut(a.body, "\n")
	quotedToken := strings.TrimSuffix(strings.TrimPrefix(line, "const demoToken = "), ";")
	var token string
	if err := json.Unmarshal([]byte(quotedToken), &token); err != nil || token != `a"b</script>` || strings.Contains(line, "</script>") {
		t.Errorf("the script begins %s", line)
	}
	if a.get("Cross-Origin-Resource-Policy") != "same-origin" || !strings.Contains(a.get("Cache-Control"), "private") {
		t.Errorf("others may read the token: %v", a.header)
	}
	if !strings.Contains(a.body, `preauthorizeApiKey("bearerAuth", demoToken)`) || contract.Current().Components.SecuritySchemes["bearerAuth"] == nil {
		t.Error("the token is not set for the document's security scheme")
	}
}

// A page of another site whose host name resolves to this machine has the same origin as the responses that it reads
// here.
func TestTheDemoTokenIsServedOnlyUnderALoopbackAddress(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *options) { o.DemoToken = func() (string, error) { return "secret", nil } })
	for host, given := range map[string]bool{
		"localhost": true, "localhost:8000": true, "127.0.0.1": true, "127.0.0.1:8000": true, "[::1]:8000": true,
		"evil.example": false, "evil.example:8000": false, "127.0.0.1.evil.example": false, "localhost.evil.example:8000": false,
		"10.0.0.1:8000": false, "0.0.0.0:8000": false,
	} {
		r := must(http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/docs/init.js", nil))
		r.Host = host
		response := must(s.client.Do(r))
		body := string(must(io.ReadAll(response.Body)))
		response.Body.Close()
		if response.StatusCode != http.StatusOK || strings.Contains(body, "secret") != given {
			t.Errorf("%s: %d, %.100s", host, response.StatusCode, body)
		}
	}
}

func TestEveryProblemTypeHasAPage(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, typ := range problem.Types {
		a := s.send(t, "GET", "/problems/"+typ.Code, "").want(http.StatusOK)
		if !strings.HasPrefix(a.get("Content-Type"), "text/html") || !strings.Contains(a.body, typ.Title) || !strings.Contains(a.body, typ.Code) || external.MatchString(a.body) {
			t.Errorf("%s: %s", typ.Code, a)
		}
		if policy := a.get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "script-src") {
			t.Errorf("%s: the policy is %q", typ.Code, policy)
		}
	}
}
