package server_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/server"
)

// lockedBuffer is a log that many goroutines write.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Nothing secret may be in a log at debug level, in an answer, or in what is
// told of a panic. Canaries stand for the secrets: if one sings, it leaked.
func TestSecretsStaySecret(t *testing.T) {
	in(t, func(t *testing.T) {
		const canary = "canary0123456789canary0123456789"
		log := new(lockedBuffer)
		verifier, err := auth.NewJWT(auth.JWTConfig{Secret: auth.Secret(canary + "-jwt-secret"), DefaultRooms: everyRoom(t)})
		if err != nil {
			t.Fatal(err)
		}
		keys, err := auth.NewAPIKeys(auth.APIKeysConfig{Static: auth.Secret(canary + "-api-key")})
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld(t, server.Config{Authenticator: verifier, APIKeys: keys, AllowQueryToken: true, AdmissionRate: -1,
			Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
		server.Handle(w.srv, "panics", func(_ context.Context, c *server.Conn, in string) (int, error) {
			panic(in + fmt.Sprint(c.Header()) + string(c.Payload()))
		})
		server.Handle(w.srv, "bounds", func(_ context.Context, _ *server.Conn, in string) (int, error) {
			return len(in[len(in)+1:]), nil
		})
		server.Handle(w.srv, "typed", func(_ context.Context, _ *server.Conn, in struct{ N int }) (int, error) { return in.N, nil })
		good, err := auth.Mint(auth.SigningKey{Secret: auth.Secret(canary + "-jwt-secret")}, auth.Claims{User: "alice", Expires: time.Now().Add(10 * time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		signature := good[strings.LastIndexByte(good, '.')+1:]

		var said []string
		say := func(p *peer) {
			for {
				m, err := p.tryRecv()
				if err != nil {
					said = append(said, err.Error())
					return
				}
				said = append(said, m)
			}
		}
		for _, connect := range []string{
			`40{"token":"` + canary + `"}`, `40{"token":"` + good + canary + `"}`, `40{"token":["` + canary + `"]}`,
			`40"` + canary + `"`, `40/` + canary + `,`, `4` + canary, `40{"token":"` + strings.Repeat(canary, 600) + `"}`,
		} {
			p := w.dial("Authorization", "Bearer "+canary, "Cookie", "session="+canary)
			p.send(connect)
			synctest.Wait()
			<-time.After(20 * time.Second) // past the delay of refusals and the time to CONNECT
			say(p)
		}
		p := w.dial("Cookie", "session="+canary)
		p.connect(good)
		for i, event := range []string{
			`["panics","` + canary + `"]`, `["bounds","` + canary + `"]`, `["typed",{"n":"` + canary + `"}]`,
			`["auth:refresh",{"token":"` + canary + `"}]`, `["auth:refresh",{"token":"` + good + `x"}]`, `["auth:refresh","` + canary + `"]`,
			`["room:join",{"room":7,"token":"` + canary + `"}]`, `["` + canary + `"]`,
		} {
			p.send(fmt.Sprintf("42%d%s", i, event))
		}
		say(p) // to the expiry
		for _, header := range [][]string{
			{"Authorization", "Bearer " + canary}, {"Authorization", "Bearer " + canary + "-api-keyx"}, {"Authorization", canary},
			{"Authorization", "Bearer hfk_id_" + canary}, {"Authorization", "Bearer " + good + "x"}, {"Authorization", "Bearer " + canary + "-api-key", "Origin", "null"},
		} {
			for _, path := range []string{roomPath("r"), roomPath("r") + "?token=" + canary, "/" + canary} {
				_, h, body := w.request("POST", path, `{"event":"connect","data":"`+canary+`"}`, header...)
				said = append(said, body, fmt.Sprint(h))
			}
		}
		_, _, body := w.request("GET", "/socket.io/?EIO=4&transport=polling&sid="+canary+"&token="+canary, "")
		said = append(said, body)
		for _, path := range []string{"/events?room=r", "/poll?room=r", "/events?room=r&since=" + canary, "/poll?wait=0&room=r&since=" + canary} {
			for _, query := range []string{"", "&token=" + canary, "&token=" + good + canary, "&token=" + good} {
				_, h, body := w.get(path+query, "Cookie", "other="+canary)
				said = append(said, body, fmt.Sprint(h))
			}
		}
		synctest.Wait()

		// What the client itself sent as a namespace or an event may be told to it.
		for _, text := range append(said, log.String()) {
			text = strings.ReplaceAll(text, `44/`+canary+`,{"message":"Invalid namespace"}`, "")
			if i := strings.Index(text, canary[:20]); i >= 0 {
				t.Errorf("a canary sings: …%.300s", text[max(0, i-100):])
			}
			if strings.Contains(text, signature) {
				t.Errorf("a token's signature is in %.300s", text)
			}
		}
		if !strings.Contains(log.String(), "handler panicked") {
			t.Error("the panic was not logged: the test looks at nothing")
		}
	})
}

// An authenticator's fault is logged for operators, and not told to clients.
func TestAuthenticatorFault(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{
			Logger:        slog.New(slog.DiscardHandler),
			Authenticator: auth.Func(func(context.Context, auth.Credential) (*holdfast.Identity, error) { return nil, io.ErrUnexpectedEOF }),
		})
		p := w.dial()
		p.send("40")
		if seen := p.wantClose(1011, "INTERNAL"); len(seen) != 0 {
			t.Errorf("sent %q", seen)
		}
	})
}
