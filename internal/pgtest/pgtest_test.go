package pgtest_test

import (
	"net"
	"net/url"
	"testing"

	"github.com/holdfast-dev/holdfast/internal/pgtest"
)

func TestServer(t *testing.T) {
	s, err := pgtest.Start(pgtest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	db, err := s.Create()
	if err != nil {
		t.Error(err)
	}
	copied, err := s.Copy(db)
	if err != nil || copied == db {
		t.Error(copied, err)
	}
	for _, url := range []string{db, copied} {
		if err := s.Drop(url); err != nil {
			t.Error(err)
		}
		if _, err := s.Copy(url); err == nil {
			t.Errorf("%s is still there", url)
		}
	}
	u, err := url.Parse(db)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", u.Host); err == nil {
		_ = c.Close()
		t.Error("it still listens")
	}
}
