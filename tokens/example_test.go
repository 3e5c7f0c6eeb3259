package tokens_test

import (
	"context"
	"fmt"
	"os"

	"github.com/holdfast-dev/holdfast/tokens"
)

func ExampleStatic() {
	src := tokens.Static("eyJhbGciOiJub25lIn0.eyJleHAiOjE3NjcyMjY1MDB9.x")
	t, err := src.Token(context.Background())
	fmt.Println(t, err) // never the secret
	// Output: token until 2026-01-01T00:15:00Z <nil>
}

func ExampleFunc() {
	// A token that another program keeps fresh in a file.
	src := tokens.Func(func(context.Context) (tokens.Token, error) {
		text, err := os.ReadFile("/run/secrets/token")
		return tokens.New(string(text)), err
	})
	_ = src
}
