package identity_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/holdfast-dev/holdfast/identity"
)

// The accounts of an application over HTTP, next to its own routes.
func ExampleNewHandler() {
	dir, err := os.MkdirTemp("", "holdfast")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	p, err := identity.Open(context.Background(), identity.Config{Dir: dir, SignUp: identity.SignUpOpen})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	accounts, err := identity.NewHandler(p, identity.HTTPConfig{})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	for _, path := range accounts.Paths() {
		mux.Handle(path, accounts)
	}
	server := httptest.NewServer(mux)
	defer server.Close()

	res, err := http.Post(server.URL+"/api/auth/sign-up", "application/json",
		strings.NewReader(`{"email":"ann@example.com","password":"correct horse battery"}`))
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.StatusCode, strings.Contains(string(body), `"accessToken"`), len(res.Cookies()), "cookies")

	res, err = http.Get(server.URL + "/api/auth/session")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if body, err = io.ReadAll(res.Body); err != nil {
		log.Fatal(err)
	}
	fmt.Print(string(body))
	// Output:
	// 200 true 0 cookies
	// null
}
