// The program keeps a session in a file, renews it, and makes requests with it.
// It is what a small client links of package tokens.
package main

import (
	"fmt"
	"net/http"
	"os"

	"github.com/holdfast-dev/holdfast/tokens"
)

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(server, path string) error {
	store, err := tokens.NewFile(path)
	if err != nil {
		return err
	}
	e, err := tokens.NewEndpoint(tokens.EndpointConfig{URL: server + "/api/auth/refresh", SignOutURL: server + "/api/auth/sign-out"})
	if err != nil {
		return err
	}
	m, err := tokens.NewManager(tokens.Config{Store: store, Refresh: e.Refresh, SignOut: e.SignOut})
	if err != nil {
		return err
	}
	defer m.Close()
	c := http.Client{Transport: &tokens.Transport{Source: m, Origins: []string{server}}}
	resp, err := c.Get(server + "/api/todos")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = fmt.Println(resp.Status)
	return err
}
