package server

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/swaggest/swgui/v5/static"
	"github.com/vearutop/statigz"

	"docket"
	"docket/internal/check"
	"docket/internal/middleware"
	"docket/internal/problem"
)

var (
	//go:embed docs.html
	docsPage []byte
	//go:embed docs.js
	docsScript []byte
)

// docsPolicy forbids the pages to load anything from other hosts. Swagger UI sets style attributes and draws its icons
// from data: URLs.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// routeDocs adds the routes that are not in the document: Swagger UI, the document itself, and a page for each problem
// type.
func (s *Server) routeDocs(mux *http.ServeMux, doc *openapi3.T) error {
	asJSON, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("write the document as JSON: %w", err)
	}
	handle := func(pattern string, next http.HandlerFunc) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			middleware.StateOf(r.Context()).Route = pattern
			r, cancel := s.limitTime(w, r, check.Policy{Timeout: check.DefaultTimeout})
			defer cancel()
			h := w.Header()
			h.Set("Cross-Origin-Resource-Policy", "same-origin") // no other site may load the demo token as a script
			h.Set("Referrer-Policy", "no-referrer")
			h.Set("Content-Security-Policy", docsPolicy)
			next(w, r)
		})
	}
	fixed := func(contentType string, body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			_, _ = w.Write(body) // an error means that the client has disconnected
		}
	}
	handle("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, s.config.BasePath+"/docs", http.StatusSeeOther)
	})
	handle("GET /openapi.yaml", fixed("application/yaml", docket.OpenAPI))
	handle("GET /openapi.json", fixed("application/json", asJSON))
	handle("GET /docs", fixed("text/html; charset=utf-8", docsPage))
	handle("GET /docs/init.js", s.docsScript)
	assets := statigz.FileServer(static.FS, func(files *statigz.Server) { files.OnNotFound = s.unmatched })
	handle("GET /docs/{asset}", http.StripPrefix("/docs", assets).ServeHTTP)
	handle("GET /problems/{code}", func(w http.ResponseWriter, r *http.Request) {
		if !problem.WritePage(w, r.PathValue("code")) {
			s.unmatched(w, r)
		}
	})
	return nil
}

// docsScript serves the script that starts Swagger UI. It contains the demo token if there is one and the browser uses
// a loopback address.
func (s *Server) docsScript(w http.ResponseWriter, r *http.Request) {
	token := ""
	if s.config.DemoToken != nil && toLoopback(r) {
		var err error
		if token, err = s.config.DemoToken(); err != nil {
			s.fail(w, r, err)
			return
		}
	}
	quoted, err := json.Marshal(token)
	if err != nil {
		panic(err) // a string: cannot fail
	}
	w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
	_, _ = fmt.Fprintf(w, "const demoToken = %s;\n%s", quoted, docsScript)
}

// toLoopback reports whether the client addressed its own machine by a loopback name. The name of another site may
// resolve to this machine, too (DNS rebinding). The browser then treats this service as part of that site, whose pages
// can read its responses.
func toLoopback(r *http.Request) bool {
	host := (&url.URL{Host: r.Host}).Hostname()
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}
