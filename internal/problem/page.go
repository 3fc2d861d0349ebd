package problem

import (
	_ "embed"
	"html/template"
	"net/http"
)

var (
	//go:embed page.html
	pageHTML string

	page = template.Must(template.New("problem").Parse(pageHTML))
)

// WritePage writes the page of the problem type with the given code. It writes nothing and returns false if there is no
// such type.
func WritePage(w http.ResponseWriter, code string) bool {
	for _, t := range Types {
		if t.Code == code {
			h := w.Header()
			h.Set("Content-Security-Policy",
				"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
			h.Set("Content-Type", "text/html; charset=utf-8")
			_ = page.Execute(w, t) // an error means that the client has disconnected
			return true
		}
	}
	return false
}
