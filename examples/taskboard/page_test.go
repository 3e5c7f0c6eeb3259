package main

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const rebuild = "run: cd web && npm ci && npm run build --workspace @holdfast/taskboard"

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// The page that is built in was made of the sources that are beside it.
func TestManifest(t *testing.T) {
	files, err := fs.Sub(builtPage, "page")
	if err != nil {
		t.Fatal(err)
	}
	text, err := fs.ReadFile(files, "manifest.json")
	if err != nil {
		t.Fatal(err)
	}
	var manifest struct{ Sources, Built map[string]string }
	if err := json.Unmarshal(text, &manifest); err != nil {
		t.Fatal(err)
	}
	if manifest.Built["index.html"] == "" || manifest.Sources["web/taskboard/src/main.tsx"] == "" {
		t.Errorf("the manifest names nothing; %s", rebuild)
	}
	for name, want := range manifest.Sources {
		data, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(name)))
		if err != nil || hashOf(data) != want {
			t.Errorf("%s has changed since the page was built (%v); %s", name, err, rebuild)
		}
	}
	there, err := fs.ReadDir(files, ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range there {
		if name := entry.Name(); name != "manifest.json" && manifest.Built[name] == "" {
			t.Errorf("page/%s is not in the manifest; %s", name, rebuild)
		}
	}
	for name, want := range manifest.Built {
		if data, err := fs.ReadFile(files, name); err != nil || hashOf(data) != want {
			t.Errorf("page/%s is not as it was built (%v); %s", name, err, rebuild)
		}
	}
}

// asked asks a page for a file.
func asked(p http.Handler, path string, header ...string) *http.Response {
	r := httptest.NewRequest("GET", path, nil)
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w.Result()
}

func TestPageFiles(t *testing.T) {
	p, err := newPage("", "https://board.example.com")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/": "text/html; charset=utf-8", "/app.js": "text/javascript; charset=utf-8",
		"/app.css": "text/css; charset=utf-8", "/manifest.json": "application/json",
	} {
		plain := asked(p, path)
		h := plain.Header
		if plain.StatusCode != 200 || h.Get("Content-Type") != want {
			t.Errorf("%s: %s, %s", path, plain.Status, h.Get("Content-Type"))
		}
		for name, want := range map[string]string{
			"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Vary": "Accept-Encoding",
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
				"connect-src 'self' wss://board.example.com; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
		} {
			if h.Get(name) != want {
				t.Errorf("%s: %s is %q", path, name, h.Get(name))
			}
		}
		zipped := asked(p, path, "Accept-Encoding: br, gzip")
		if zipped.Header.Get("Content-Encoding") != "gzip" || zipped.Header.Get("ETag") == h.Get("ETag") {
			t.Errorf("%s: %v", path, zipped.Header)
		}
		unzipped, err := gzip.NewReader(zipped.Body)
		if err != nil {
			t.Fatal(err)
		}
		one, err := io.ReadAll(plain.Body)
		other, oerr := io.ReadAll(unzipped)
		if err != nil || oerr != nil || string(one) != string(other) || len(one) == 0 {
			t.Errorf("%s: %d and %d bytes; %v, %v", path, len(one), len(other), err, oerr)
		}
		for _, again := range []*http.Response{
			asked(p, path, "If-None-Match: "+h.Get("ETag")),
			asked(p, path, "Accept-Encoding: gzip", "If-None-Match: "+zipped.Header.Get("ETag")),
		} {
			if again.StatusCode != http.StatusNotModified {
				t.Errorf("%s again: %s", path, again.Status)
			}
		}
	}
	if r := asked(p, "/none.js"); r.StatusCode != http.StatusNotFound {
		t.Errorf("none.js: %s", r.Status)
	}
}

func TestTakesGzip(t *testing.T) {
	for accept, want := range map[string]bool{
		"": false, "gzip": true, "br, GZIP;q=0.5": true, "gzip;q=0": false, "gzip; q=0.000, br": false, "gzip;q=1.0": true, "br": false,
	} {
		if got := takesGzip(accept); got != want {
			t.Errorf("%q: %v", accept, got)
		}
	}
}

// A folder is served as it is, so that one sees what has been built since.
func TestPageFolder(t *testing.T) {
	if _, err := newPage(t.TempDir(), ""); err == nil {
		t.Error("a folder without a page was taken")
	}
	outside := t.TempDir()
	dir := filepath.Join(outside, "page")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("index.html", "one")
	write("../secret.html", "secret")
	p, err := newPage(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"one", "two"} {
		write("index.html", want)
		if got, err := io.ReadAll(asked(p, "/").Body); err != nil || string(got) != want {
			t.Errorf("%q, %v", got, err)
		}
	}
	for _, path := range []string{"/../secret.html", "//secret.html", "/none.html"} {
		if r := asked(p, path); r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, r.Status)
		}
	}
}

// The server's own paths are beside the page's.
func TestPageAndServer(t *testing.T) {
	s := start(t, t.TempDir())
	for path, want := range map[string]int{"/": 200, "/app.js": 200, "/healthz": 200, "/none": 404, "/api/boards": 401} {
		if status, text := s.stranger().call("GET", path, nil); status != want {
			t.Errorf("%s: %d %.100s", path, status, text)
		}
	}
}
