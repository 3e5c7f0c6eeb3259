package interop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/server"
	"github.com/holdfast-dev/holdfast/socketio"
	"github.com/holdfast-dev/holdfast/tokens"
)

// nodeServer starts the npm socket.io server. Port 0 means any.
func nodeServer(t *testing.T, port int) (*script, int) {
	t.Helper()
	requireNode(t)
	node := startNode(t, "npmserver.mjs", strconv.Itoa(port))
	var first struct{ Port int }
	node.line(&first)
	return node, first.Port
}

// goClient returns a client of our own.
func goClient(t *testing.T, base string, cfg client.Config) *client.Client {
	t.Helper()
	cfg.BaseURL = base
	cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func local(port int) string { return fmt.Sprintf("http://127.0.0.1:%d", port) }

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func connect(t *testing.T, s *client.Socket) {
	t.Helper()
	if err := s.Connect(within(t)); err != nil {
		t.Fatal(err)
	}
}

// next waits for a value.
func next[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// until waits for a state.
func until(t *testing.T, changes <-chan client.Change, state client.State) client.Change {
	t.Helper()
	for {
		if c := next(t, changes); c.State == state {
			return c
		}
	}
}

// TestGoClientPlain drives the npm socket.io server with our client.
func TestGoClientPlain(t *testing.T) {
	node, port := nodeServer(t, 0)
	c := goClient(t, local(port), client.Config{Source: tokens.Static("abc"), Header: http.Header{"X-App": {"go"}}})
	s := c.Socket()
	connect(t, s)
	var seen struct {
		Connect           struct{ Token string }
		Namespace, Header string
	}
	if node.line(&seen); seen.Connect.Token != "abc" || seen.Namespace != "/" || seen.Header != "go" {
		t.Errorf("the server saw %+v", seen)
	}
	if _, ok := s.Session(); ok {
		t.Error("a plain server gives no session")
	}

	t.Run("acks", func(t *testing.T) {
		ctx := within(t)
		if v, err := client.EmitAck[string](ctx, s, "where", nil); v != "/" || err != nil {
			t.Error(v, err)
		}
		args, err := s.EmitRaw(ctx, "echo", 1, "grüße 🎉", nil, map[string]any{"a": []int{1}}, []byte{0, 255})
		if err != nil || args.Len() != 5 || string(args.AppendArray(nil)) != `[1,"grüße 🎉",null,{"a":[1]},{"_placeholder":true,"num":0}]` || string(args.Attachments[0]) != "\x00\xff" {
			t.Errorf("%s %q, %v", args.AppendArray(nil), args.Attachments, err)
		}
		args, err = s.EmitRaw(ctx, "echo")
		if err != nil || args.Len() != 0 {
			t.Error(args, err)
		}
		soon, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		if _, err := client.EmitAck[any](soon, s, "nobody listens", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})

	t.Run("acks of the client", func(t *testing.T) {
		ctx := within(t)
		defer client.Handle(s, "double", func(_ context.Context, n int) (int, error) {
			if n < 0 {
				return 0, holdfast.Forbidden.New()
			}
			return 2 * n, nil
		})()
		defer s.HandleRaw("reverse", func(_ context.Context, args socketio.Args) (socketio.Args, error) {
			slices.Reverse(args.Values)
			return args, nil
		})()
		for _, test := range []struct {
			event string
			args  []any
			want  string
		}{
			{"double", []any{21}, `{"answer":42}`},
			{"double", []any{-1}, `{"answer":{"ok":false,"error":{"message":"Not allowed","code":"FORBIDDEN"}}}`},
			{"reverse", []any{"a"}, `{"answer":"a"}`},
			{"unknown", nil, `{"failed":"operation has timed out"}`},
		} {
			args, err := s.EmitRaw(ctx, "ask", test.event, append([]any{}, test.args...))
			if err != nil || string(args.Values[0]) != test.want {
				t.Errorf("%s: %s, %v", test.event, args.Values, err)
			}
		}
	})

	t.Run("binary", func(t *testing.T) {
		ctx := within(t)
		type file struct {
			Name string          `json:"name"`
			Size int             `json:"size"`
			Body socketio.Binary `json:"body"`
		}
		got, err := client.EmitAck[file](ctx, s, "reverse", file{Name: "f", Body: []byte{1, 2, 3}})
		if diff := cmp.Diff(file{"f", 3, []byte{3, 2, 1}}, got); diff != "" || err != nil {
			t.Error(diff, err)
		}
		events := make(chan string, 1)
		defer s.OnRaw("bytes", func(_ context.Context, args socketio.Args) {
			var nested struct{ List json.RawMessage }
			one, ok := args.Bytes(0)
			err := args.Decode(1, &nested)
			events <- fmt.Sprintf("%x %v %s %v", one, ok, nested.List, err)
		})()
		if err := s.Emit(ctx, "binary"); err != nil {
			t.Error(err)
		}
		if got := next(t, events); got != `0001ff true [{"$base64":"YQ=="},{"b":{"$base64":""}}] <nil>` {
			t.Error(got)
		}
		if err := s.Emit(ctx, "say", []byte{0xab, 0xcd}, 7); err != nil {
			t.Error(err)
		}
		var said struct{ Said []any }
		if node.line(&said); fmt.Sprint(said.Said) != "[abcd 7]" {
			t.Error(said.Said)
		}
	})

	t.Run("order", func(t *testing.T) {
		const n = 10_000
		var got []int
		off := client.On(s, "tick", func(_ context.Context, v struct {
			I   int             `json:"i"`
			Pad socketio.Binary `json:"pad"`
		}) {
			if v.I%100 == 99 && len(v.Pad) != 100 {
				t.Errorf("%d has %d bytes", v.I, len(v.Pad))
			}
			got = append(got, v.I)
		})
		if _, err := client.EmitAck[int](within(t), s, "ticks", n); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		client.Once(s, "last", func(context.Context, any) { close(done) })
		if err := s.Emit(within(t), "emit", "last"); err != nil {
			t.Fatal(err)
		}
		next(t, done)
		off()
		if len(got) != n || !slices.IsSorted(got) {
			t.Errorf("%d events", len(got))
		}
	})

	t.Run("namespace", func(t *testing.T) {
		admin := c.Namespace("/admin")
		connect(t, admin)
		var seen struct {
			Connect   struct{ Token string }
			Namespace string
		}
		if node.line(&seen); seen.Namespace != "/admin" || seen.Connect.Token != "abc" {
			t.Errorf("%+v", seen)
		}
		if v, err := client.EmitAck[string](within(t), admin, "where", nil); v != "/admin" || err != nil {
			t.Error(v, err)
		}
		admin.Close()
		var gone struct{ Disconnect, Namespace string }
		if node.line(&gone); gone.Disconnect != "client namespace disconnect" || gone.Namespace != "/admin" {
			t.Errorf("%+v", gone)
		}
		if err := c.Namespace("/nowhere").Connect(within(t)); !errors.Is(err, holdfast.NotFound) {
			t.Error(err)
		}
	})

	t.Run("heartbeat", func(t *testing.T) {
		changes, stop := s.Changes(10)
		defer stop()
		next(t, changes)
		select {
		case c := <-changes:
			t.Errorf("%+v", c)
		case <-time.After(3 * time.Second): // the server pings each second
		}
	})

	t.Run("drop", func(t *testing.T) {
		changes, stop := s.Changes(100)
		defer stop()
		next(t, changes)
		if err := s.Emit(within(t), "drop"); err != nil {
			t.Error(err)
		}
		if c := until(t, changes, client.Disconnected); c.Final {
			t.Errorf("%+v", c)
		}
		until(t, changes, client.Connected)
	})

	t.Run("kick", func(t *testing.T) {
		changes, stop := s.Changes(100)
		defer stop()
		next(t, changes)
		if err := s.Emit(within(t), "kick"); err != nil {
			t.Error(err)
		}
		if c := until(t, changes, client.Disconnected); !c.Final || !errors.Is(c.Err, client.ErrDisconnected) {
			t.Errorf("%+v", c)
		}
		connect(t, s)
	})
}

// TestGoClientRefused meets a middleware that refuses.
func TestGoClientRefused(t *testing.T) {
	_, port := nodeServer(t, 0)
	err := goClient(t, local(port), client.Config{Source: tokens.Static("banned")}).Socket().Connect(within(t))
	if e, ok := errors.AsType[*holdfast.Error](err); !ok || e.Message != "you are banned" || string(e.Details) != `{"code":"E_BANNED","until":7}` {
		t.Error(err)
	}
	// An expired token is read anew from the source.
	n := 0
	src := tokens.Func(func(context.Context) (tokens.Token, error) {
		if n++; n == 1 {
			return tokens.New("expired"), nil
		}
		return tokens.New("fresh"), nil
	})
	connect(t, goClient(t, local(port), client.Config{Source: src}).Socket())
	if n != 2 {
		t.Errorf("the source was read %d times", n)
	}
}

// TestGoClientRestart kills the server under the client.
func TestGoClientRestart(t *testing.T) {
	node, port := nodeServer(t, 0)
	s := goClient(t, local(port), client.Config{Socket: client.SocketConfig{MinBackoff: 50 * time.Millisecond}}).Socket()
	got := make(chan string, 10)
	client.On(s, "hello", func(_ context.Context, text string) { got <- text })
	connect(t, s)
	changes, stop := s.Changes(1000)
	defer stop()
	next(t, changes)

	waiting := make(chan error)
	go func() {
		_, err := client.EmitAck[any](context.Background(), s, "nobody listens", nil)
		waiting <- err
	}()
	if _, err := client.EmitAck[string](within(t), s, "where", nil); err != nil {
		t.Fatal(err)
	}
	node.kill()
	if err := next(t, waiting); !errors.Is(err, client.ErrConnectionLost) && !errors.Is(err, client.ErrNotConnected) {
		t.Error(err)
	}
	until(t, changes, client.Disconnected)
	if err := s.Emit(within(t), "say", "lost"); !errors.Is(err, client.ErrNotConnected) {
		t.Error(err)
	}
	nodeServer(t, port)
	until(t, changes, client.Connected)
	if err := s.Emit(within(t), "emit", "hello", "again"); err != nil {
		t.Error(err)
	}
	if text := next(t, got); text != "again" {
		t.Error(text)
	}
}

// TestGoClientHoldfast drives our own server with our own client.
func TestGoClientHoldfast(t *testing.T) {
	srv, base := npmServer(t)
	minted := npmTokens(t)
	server.Handle(srv, "cut", func(_ context.Context, c *server.Conn, code holdfast.Code) (bool, error) {
		c.Close(code.New())
		return true, nil
	})
	dial := func(t *testing.T, src tokens.Source) *client.Socket {
		s := goClient(t, base, client.Config{Source: src, Socket: client.SocketConfig{MinBackoff: 50 * time.Millisecond}}).Socket()
		connect(t, s)
		return s
	}

	t.Run("events", func(t *testing.T) {
		s := goClient(t, base, client.Config{Source: tokens.Static(minted["alice"])}).Socket()
		sessions := make(chan client.Session, 1)
		client.On(s, client.EventSession, func(_ context.Context, v client.Session) { sessions <- v })
		client.Handle(s, "ask", func(_ context.Context, a int) (map[string]int, error) { return map[string]int{"Sum": a + 1}, nil })
		connect(t, s)
		if v := next(t, sessions); v.User.ID != "alice" || !v.Has("refresh") || v.ExpiresIn < 3500 {
			t.Errorf("%+v", v)
		}
		ctx := within(t)
		if v, err := client.EmitAck[map[string]string](ctx, s, "echo", map[string]string{"a": "<ü>"}); v["a"] != "<ü>" || err != nil {
			t.Error(v, err)
		}
		if v, err := client.EmitAck[int](ctx, s, "ask-me", map[string]int{"A": 41}); v != 42 || err != nil {
			t.Error(v, err)
		}
		if _, err := client.EmitAck[int](ctx, s, "unknown", nil); !errors.Is(err, holdfast.NotFound) {
			t.Error(err)
		}
		if args, err := s.EmitRaw(ctx, "raw", 1, []byte("x")); err != nil || args.Len() != 2 || string(args.Attachments[0]) != "x" {
			t.Error(args, err)
		}
		big := make([]byte, 2_000_000)
		if err := s.Emit(ctx, "raw", big); !errors.Is(err, holdfast.MessageTooLarge) {
			t.Error(err)
		}
		admin := goClient(t, base, client.Config{Source: tokens.Static(minted["bob"])}).Namespace("/admin")
		connect(t, admin)
		if v, err := client.EmitAck[string](ctx, admin, "where", nil); v != "/admin" || err != nil {
			t.Error(v, err)
		}
	})

	t.Run("rooms", func(t *testing.T) {
		alice, bob := dial(t, tokens.Static(minted["alice"])), dial(t, tokens.Static(minted["bob"]))
		ctx := within(t)
		got := make(chan string, 100)
		room, err := alice.Join(ctx, "board", client.JoinOptions{OnEvent: func(_ context.Context, e *holdfast.Event) {
			got <- fmt.Sprint(e.Room, " ", e.Name, " ", string(e.Data), " ", e.From, " ", e.ID, " ", len(e.Attachments))
		}})
		if err != nil {
			t.Fatal(err)
		}
		at, err := bob.Publish(ctx, "board", "note", map[string]int{"n": 1}, "id-1")
		if err != nil {
			t.Fatal(err)
		}
		if e := next(t, got); e != `board note {"n":1} bob id-1 0` {
			t.Error(e)
		}
		if again, err := bob.Publish(ctx, "board", "note", map[string]int{"n": 1}, "id-1"); again != at || err != nil {
			t.Error(again, at, err)
		}
		if _, err := bob.Publish(ctx, "board", "file", []byte("bytes"), ""); err != nil {
			t.Error(err)
		}
		if e := next(t, got); e != `board file {"_placeholder":true,"num":0} bob  1` {
			t.Error(e)
		}
		if _, err := alice.Join(ctx, "secret", client.JoinOptions{}); !errors.Is(err, holdfast.Forbidden) {
			t.Error(err)
		}
		// What is published while the socket is away comes when it is back,
		// in order and once.
		changes, stop := alice.Changes(100)
		defer stop()
		next(t, changes)
		if err := alice.Emit(ctx, "cut", holdfast.GoingAway); err != nil {
			t.Error(err)
		}
		if c := until(t, changes, client.Disconnected); !errors.Is(c.Err, holdfast.GoingAway) || c.Final {
			t.Errorf("%+v", c)
		}
		for n := range 50 {
			if at, err = bob.Publish(ctx, "board", "note", n, ""); err != nil {
				t.Fatal(err)
			}
		}
		until(t, changes, client.Connected)
		for n := range 50 {
			if e := next(t, got); e != fmt.Sprintf("board note %d bob  0", n) {
				t.Fatal(n, e)
			}
		}
		replay := make(chan holdfast.Position, 100)
		again, err := bob.Join(ctx, "board", client.JoinOptions{
			Since:   &holdfast.Position{Epoch: at.Epoch, Offset: at.Offset - 2},
			OnEvent: func(_ context.Context, e *holdfast.Event) { replay <- e.Position },
		})
		if err != nil || next(t, replay).Offset != at.Offset-1 || next(t, replay) != at {
			t.Error(err)
		}
		again.Leave()
		room.Leave()
		if _, err := bob.Publish(ctx, "board", "note", "unheard", ""); err != nil {
			t.Error(err)
		}
		lost := make(chan client.Reset, 1)
		if _, err := alice.Join(ctx, "board", client.JoinOptions{
			Since:   &holdfast.Position{Epoch: "gone", Offset: 1},
			OnReset: func(_ context.Context, r client.Reset) { lost <- r },
		}); err != nil || next(t, lost).Position.Epoch != at.Epoch {
			t.Error(err)
		}
	})

	t.Run("codes", func(t *testing.T) {
		for code, final := range map[holdfast.Code]bool{
			holdfast.Forbidden: true, holdfast.SessionRevoked: true, holdfast.GoingAway: false, holdfast.SlowConsumer: false, holdfast.Internal: false,
		} {
			s := dial(t, tokens.Static(minted["alice"]))
			changes, stop := s.Changes(100)
			defer stop()
			next(t, changes)
			if err := s.Emit(within(t), "cut", code); err != nil {
				t.Error(err)
			}
			if c := until(t, changes, client.Disconnected); !errors.Is(c.Err, code) || c.Final != final {
				t.Errorf("%s: %+v", code, c)
			}
			s.Close()
		}
	})

	t.Run("tokens", func(t *testing.T) {
		for name, code := range map[string]holdfast.Code{"wrong": holdfast.Unauthenticated, "expired": holdfast.TokenExpired, "oversized": holdfast.Unauthenticated} {
			s := goClient(t, base, client.Config{Source: tokens.Static(minted[name])}).Socket()
			err := s.Connect(within(t))
			if _, ok := errors.AsType[*tokens.RefusedError](err); !ok || !errors.Is(err, code) {
				t.Errorf("%s: %v", name, err)
			}
		}
		s := goClient(t, base, client.Config{}).Socket()
		if err := s.Connect(within(t)); !errors.Is(err, holdfast.Unauthenticated) {
			t.Error(err)
		}
	})

	t.Run("refresh", func(t *testing.T) {
		texts := make(chan string, 2)
		texts <- npmTokens(t)["short"]
		texts <- minted["alice"]
		last := ""
		s := dial(t, tokens.Func(func(context.Context) (tokens.Token, error) {
			select {
			case last = <-texts:
			default:
			}
			return tokens.New(last), nil
		}))
		changes, stop := s.Changes(100)
		defer stop()
		next(t, changes)
		select {
		case c := <-changes:
			t.Errorf("%+v", c)
		case <-time.After(5 * time.Second): // the first token, and the leeway, are over
		}
		if session, _ := s.Session(); session.ExpiresIn < 3500 {
			t.Errorf("%+v", session)
		}
	})
}
