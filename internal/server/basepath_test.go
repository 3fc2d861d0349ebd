package server_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"

	"docket/contract"
)

// fault F7
func TestAddressesWorkBehindAPathPrefix(t *testing.T) {
	t.Parallel()
	for name, removes := range map[string]bool{"the proxy removes the prefix": true, "the proxy passes it on": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const base = "/tools/docket"
			s := start(t, func(o *options) { o.BasePath = base })
			target := must(url.Parse(s.url))
			proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if path := r.URL.Path; path != base && !strings.HasPrefix(path, base+"/") {
					w.WriteHeader(http.StatusBadGateway) // another service of the origin
					return
				}
				(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
					if removes {
						p.Out.URL = must(url.Parse(strings.TrimPrefix(p.In.URL.String(), base)))
					}
					p.SetURL(target)
				}}).ServeHTTP(w, r)
			}))
			t.Cleanup(proxy.Close)
			// get follows an address as a browser would that shows the page.
			get := func(page, address string) (string, *http.Response, string) {
				t.Helper()
				at := must(must(url.Parse(page)).Parse(address))
				r := must(http.NewRequestWithContext(t.Context(), http.MethodGet, at.String(), nil))
				r.Header.Set("Authorization", "Bearer "+s.ada.token)
				a := must(s.client.Do(r))
				defer a.Body.Close()
				return at.String(), a, string(must(io.ReadAll(a.Body)))
			}

			// A task's Location.
			r := must(http.NewRequestWithContext(t.Context(), http.MethodPost, proxy.URL+base+s.ada.tasks(), strings.NewReader(`{"title": "Buy milk"}`)))
			r.Header.Set("Authorization", "Bearer "+s.ada.token)
			r.Header.Set("Content-Type", "application/json")
			made := must(s.client.Do(r))
			made.Body.Close()
			if location := made.Header.Get("Location"); made.StatusCode != http.StatusCreated || !strings.HasPrefix(location, base+s.ada.tasks()+"/") {
				t.Errorf("%d, Location %s", made.StatusCode, location)
			}
			if _, a, body := get(r.URL.String(), made.Header.Get("Location")); a.StatusCode != http.StatusOK || !strings.Contains(body, "Buy milk") {
				t.Errorf("the new task: %d %s", a.StatusCode, body)
			}

			// A problem's type and instance.
			missing, a, body := get(proxy.URL, base+s.ada.tasks()+"/"+uuid.NewString())
			var p problemDocument
			check(t, json.Unmarshal([]byte(body), &p))
			if a.StatusCode != http.StatusNotFound || !strings.HasPrefix(p.Instance, base+"/requests/") {
				t.Errorf("%d %s", a.StatusCode, body)
			}
			if _, a, body = get(missing, p.Type); a.StatusCode != http.StatusOK || !strings.Contains(body, "task_not_found") {
				t.Errorf("%s: %d %s", p.Type, a.StatusCode, body)
			}

			// Swagger UI, what it loads, and the server in the document that it loads.
			for _, root := range []string{"", "/"} {
				if _, a, _ := get(proxy.URL, base+root); a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != base+"/docs" {
					t.Errorf("%s: %d to %s", root, a.StatusCode, a.Header.Get("Location"))
				}
			}
			docs, _, body := get(proxy.URL, base+"/docs")
			for _, link := range loads.FindAllStringSubmatch(body, -1) {
				if at, a, _ := get(docs, link[1]); a.StatusCode != http.StatusOK {
					t.Errorf("%s: %d", at, a.StatusCode)
				}
			}
			_, _, script := get(docs, "docs/init.js")
			_, name, _ := strings.Cut(script, `url: "`)
			name, _, _ = strings.Cut(name, `"`)
			document, a, body := get(docs, name)
			var doc struct{ Servers []struct{ URL string } }
			if err := json.Unmarshal([]byte(body), &doc); err != nil || a.StatusCode != http.StatusOK || len(doc.Servers) != 1 {
				t.Fatalf("%s: %v, %d", document, err, a.StatusCode)
			}
			if server := must(must(url.Parse(document)).Parse(doc.Servers[0].URL)).String(); server != proxy.URL+base+"/" {
				t.Errorf("the document's server is %s", server)
			}

			// The service still answers at its own root, where probes ask.
			s.send(t, "GET", "/health/ready", "").want(http.StatusOK)
			if p := s.send(t, "GET", "/nonsense", "").want(http.StatusNotFound).problem(); p.Type != base+"/problems/route_not_found" {
				t.Errorf("type %s", p.Type)
			}
		})
	}
}

// Older frontends send a slash at the end of a path. The operation with its checks and its route in the log is the same.
func TestASlashAtTheEndOfAPathMakesNoDifference(t *testing.T) {
	t.Parallel()
	s := start(t)
	tried := 0
	for _, op := range contract.Current().Operations {
		for _, status := range []int{200, 201, 204, 304, 400, 401, 403, 406, 412, 413, 415, 422} {
			if op.Responses.Status(status) == nil {
				continue
			}
			c := callOf(t, op, s.ada, s.ada.tagged(t, recurring).ID)
			c.target += "/"
			causes[status](t, environment{healthy: s}, op, c).want(status)
			tried++
		}
	}
	if log := s.log.String(); tried < 60 || strings.Contains(log, "{$}") || !strings.Contains(log, `"route":"POST /api/{user_id}/tasks/{task_id}/complete"`) {
		t.Errorf("%d requests were logged as\n%s", tried, log)
	}
}
