package main

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
)

//go:embed page.html
var pageText string

// page answers with the page that says how to use the board from a terminal.
// It panics if the template is broken, which a test would have seen.
func page(url string) http.Handler {
	var text bytes.Buffer
	if err := template.Must(template.New("page").Parse(pageText)).Execute(&text, map[string]string{"URL": url}); err != nil {
		panic(err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(text.Bytes()) // a peer that is gone needs no answer
	})
}
