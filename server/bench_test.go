package server_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/server"
)

// BenchmarkAdmission is a whole admission: WebSocket handshake, CONNECT,
// verification, auth:session, and the close; over memory, the client's part
// included.
func BenchmarkAdmission(b *testing.B) {
	es, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	for _, key := range []struct {
		name    string
		private crypto.Signer
	}{{"HS256", nil}, {"ES256", es}, {"EdDSA", ed}} {
		b.Run(key.name, func(b *testing.B) {
			signing := auth.SigningKey{Secret: secret}
			cfg := auth.JWTConfig{Secret: secret, DefaultRooms: everyRoom(b)}
			if key.private != nil {
				signing = auth.SigningKey{Private: key.private}
				public, err := signing.Public()
				if err != nil {
					b.Fatal(err)
				}
				cfg = auth.JWTConfig{Keys: []auth.Key{public}, DefaultRooms: everyRoom(b)}
			}
			verifier, err := auth.NewJWT(cfg)
			if err != nil {
				b.Fatal(err)
			}
			defer verifier.Close()
			w := newWorld(b, server.Config{Authenticator: verifier, AdmissionRate: -1, TotalAdmissionRate: -1, ConnectionsPerUser: -1, UnauthenticatedPerAddress: -1})
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				signed, err := auth.Mint(signing, auth.Claims{User: fmt.Sprint("user", n), Expires: time.Now().Add(time.Hour)})
				if err != nil {
					b.Fatal(err)
				}
				p := w.dial()
				p.connect(signed)
				p.conn.CloseNow()
				n++
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "admissions/s")
		})
	}
}

// BenchmarkEcho is an event and its ack on a connection that stays.
func BenchmarkEcho(b *testing.B) {
	w := newWorld(b, server.Config{MessageRate: -1})
	server.Handle(w.srv, "echo", func(_ context.Context, _ *server.Conn, n int) (int, error) { return n, nil })
	p := w.connect("alice")
	b.ReportAllocs()
	for b.Loop() {
		p.send(`421["echo",7]`)
		p.want(`431[{"ok":true,"data":7}]`)
	}
}

// BenchmarkEchoWithID is the same with an id, in memory: what a repeat of it
// would be answered by is kept.
func BenchmarkEchoWithID(b *testing.B) {
	w := newWorld(b, server.Config{MessageRate: -1})
	server.Handle(w.srv, "echo", func(_ context.Context, _ *server.Conn, n int) (int, error) { return n, nil })
	p := w.connect("alice")
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		p.send(fmt.Sprintf(`421["echo",7,{"$hf":{"id":"01KDVXZ8Q4M7W9T3B5%08d"}}]`, n))
		p.want(`431[{"ok":true,"data":7}]`)
		n++
	}
}
