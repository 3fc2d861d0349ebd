package server

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/url"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/swaggest/swgui/v5/static"
	"github.com/vearutop/statigz"

	"docket"
)

var (
	//go:embed docs.html
	docsPage []byte
	//go:embed docs.js
	docsScript []byte
	//go:embed problem.html
	problemPage string

	problemTemplate = template.Must(template.New("problem").Parse(problemPage))
)

// The pages load nothing from elsewhere. Swagger UI sets style attributes and draws its icons from data: addresses.
const (
	docsPolicy    = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	problemPolicy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

// routeDocs adds what stands outside the contract: Swagger UI, the document itself, and a page for each kind of
// problem.
func (s *Server) routeDocs(mux *http.ServeMux, doc *openapi3.T) error {
	asJSON, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("write the contract as JSON: %w", err)
	}
	handle := func(pattern string, next http.HandlerFunc) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			x := exchangeOf(r)
			x.route, x.ours = pattern, true
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
			_, _ = w.Write(body) // a failure means that the client is gone
		}
	}
	handle("GET /{$}", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/docs", http.StatusSeeOther) })
	handle("GET /openapi.yaml", fixed("application/yaml", docket.OpenAPI))
	handle("GET /openapi.json", fixed("application/json", asJSON))
	handle("GET /docs", fixed("text/html; charset=utf-8", docsPage))
	handle("GET /docs/init.js", s.docsScript)
	assets := statigz.FileServer(static.FS, func(files *statigz.Server) {
		files.OnNotFound = func(w http.ResponseWriter, r *http.Request) { s.writeProblem(w, r, unmatched(r, w.Header())) }
	})
	handle("GET /docs/{asset}", http.StripPrefix("/docs", assets).ServeHTTP)
	handle("GET /problems/{code}", s.problemPage)
	return nil
}

// docsScript starts Swagger UI, with the demo token where there is one and the browser is at this machine's own address.
func (s *Server) docsScript(w http.ResponseWriter, r *http.Request) {
	token := ""
	if s.config.DemoToken != nil && toLoopback(r) {
		var err error
		if token, err = s.config.DemoToken(); err != nil {
			s.writeProblem(w, r, err)
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

// toLoopback reports whether the client knows that it talks to its own machine. A page elsewhere can have its own name
// lead here (DNS rebinding): to the browser this is that page's origin then, and what it reads is the page's.
func toLoopback(r *http.Request) bool {
	host := (&url.URL{Host: r.Host}).Hostname()
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// problemPage explains a kind of problem, at the address that its type names.
func (s *Server) problemPage(w http.ResponseWriter, r *http.Request) {
	for _, k := range kinds {
		if k.code == r.PathValue("code") {
			w.Header().Set("Content-Security-Policy", problemPolicy)
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_ = problemTemplate.Execute(w, map[string]any{"Status": k.status, "Code": k.code, "Title": k.title, "Advice": k.advice})
			return
		}
	}
	s.writeProblem(w, r, unmatched(r, w.Header()))
}
