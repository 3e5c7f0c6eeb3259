package standalone_test

import (
	"context"
	"log"
	"net/http"

	"github.com/holdfast-dev/holdfast/identity"
	"github.com/holdfast-dev/holdfast/standalone"
)

// A server with accounts, kept in ./data.
func Example() {
	cfg := standalone.Config{Identity: &identity.Config{Dir: "data", SignUp: identity.SignUpInvite}}
	cfg.PublicURL = "https://rt.example.com"
	s, err := standalone.New(context.Background(), cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Shutdown(context.Background())
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", s))
}
