package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"time"
)

// builtPage is what web/taskboard was built into: `npm run build --workspace
// @holdfast/taskboard` in web.
//
//go:embed page
var builtPage embed.FS

// pageType is the type of a file of the page. What the machine knows of names
// may be something else.
func pageType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".json":
		return "application/json"
	case ".svg":
		return "image/svg+xml"
	case ".png":
		return "image/png"
	}
	return "application/octet-stream"
}

// asset is a file of the page, as it is sent.
type asset struct {
	plain  []byte
	zipped []byte // nil where it gains nothing
	tag    string // of the plain one; without quotes
}

// page answers with the files of the page. It is an http.Handler, and safe for
// concurrent use.
type page struct {
	files  fs.FS
	kept   map[string]*asset // nil: files are read at each request
	policy string
	next   http.Handler // for all that is no file of the page
}

// newPage serves the page that is built in or, where dir is not empty, the one
// in that folder as it is at each moment. site is where people find the page.
func newPage(dir, site string) (*page, error) {
	p := &page{policy: pagePolicy(site), next: http.NotFoundHandler()}
	if dir != "" {
		p.files = os.DirFS(dir)
		_, err := fs.Stat(p.files, "index.html") // a folder that is wrong is told of now
		return p, err
	}
	files, err := fs.Sub(builtPage, "page")
	if err != nil {
		return nil, err
	}
	p.files = files
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		return nil, err
	}
	kept := make(map[string]*asset, len(entries))
	for _, entry := range entries {
		if kept[entry.Name()], err = p.load(entry.Name()); err != nil {
			return nil, err
		}
	}
	p.kept = kept
	return p, nil
}

// pagePolicy is what the page may do: run and fetch what comes from its own
// server. Styles that scripts set by the DOM are no inline styles. Older
// browsers take a WebSocket to the same host for another source than 'self'.
func pagePolicy(site string) string {
	connect := "'self'"
	if u, err := url.Parse(site); err == nil && u.Host != "" {
		connect += " " + strings.Replace(u.Scheme, "http", "ws", 1) + "://" + u.Host
	}
	return "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src " + connect +
		"; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
}

// load reads a file, and makes it ready to be sent.
func (p *page) load(name string) (*asset, error) {
	plain, err := fs.ReadFile(p.files, name)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(plain)
	a := &asset{plain: plain, tag: hex.EncodeToString(sum[:16])}
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if zipped.Len() < len(plain) {
		a.zipped = zipped.Bytes()
	}
	return a, nil
}

func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	if name == "" {
		name = "index.html"
	}
	a := p.kept[name]
	if p.kept == nil && fs.ValidPath(name) {
		var err error
		if a, err = p.load(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			http.Error(w, "The page can't be read.", http.StatusInternalServerError)
			return
		}
	}
	if a == nil {
		p.next.ServeHTTP(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", pageType(name))
	h.Set("Content-Security-Policy", p.policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	// Names stay the same over builds: a browser asks each time, and mostly hears that nothing has changed.
	h.Set("Cache-Control", "no-cache")
	h.Add("Vary", "Accept-Encoding")
	body, tag := a.plain, a.tag
	if a.zipped != nil && takesGzip(r.Header.Get("Accept-Encoding")) {
		body, tag = a.zipped, tag+"-gzip"
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("ETag", `"`+tag+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// takesGzip says whether a browser takes gzip. Who weighs it 0 does not; other
// weights make no difference where there is one encoding.
func takesGzip(accept string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		coding, weight, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			weight = strings.TrimPrefix(strings.ReplaceAll(weight, " ", ""), "q=")
			return weight == "" || strings.Trim(weight, "0.") != ""
		}
	}
	return false
}
