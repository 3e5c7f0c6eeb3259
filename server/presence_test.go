package server_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/server"
	"github.com/holdfast-dev/holdfast/socketio"
)

// pause lets time pass for all of the bubble.
func pause(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// One room's presence is the same over both protocols.
func TestPresence(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		ann := w.connect("ann", `{"name":"Ann"}`)
		ann.send(`421["room:join",{"room":"r","presence":{"at":1}}]`)
		if ack := ann.want(`431[{"ok":true,"data":{"room":"r","epoch":"`); !strings.HasSuffix(ack, `"offset":0,"presence":[{"id":"ann","name":"Ann","data":{"at":1},"connections":1}]}}]`) {
			t.Errorf("ack %s", ack)
		}

		bob := w.plainUser("bob", `{"name":"Bob"}`)
		bob.send(`{"type":"join","room":"r","presence":[2],"ref":1}`)
		if ok := bob.want(`{"type":"ok","ref":1,"data":{"room":"r",`); !strings.HasSuffix(ok, `"presence":[{"id":"ann","name":"Ann","data":{"at":1},"connections":1},{"id":"bob","name":"Bob","data":[2],"connections":1}]}}`) {
			t.Errorf("answer %s", ok)
		}
		ann.want(`42["presence:join",{"room":"r","user":{"id":"bob","name":"Bob","data":[2]}}]`)

		bob.send(`{"type":"presence","room":"r","data":{"b":"é"},"ref":"p"}`)
		bob.want(`{"type":"ok","ref":"p","data":null}`)
		ann.want(`42["presence:update",{"room":"r","user":{"id":"bob","name":"Bob","data":{"b":"é"}}}]`)
		ann.send(`422["presence:update",{"room":"r","data":null}]`)
		ann.want(`432[{"ok":true,"data":null}]`)
		bob.want(`{"type":"presence_updated","room":"r","user":{"id":"ann","name":"Ann"}}`)
		ann.send(`423["presence:get",{"room":"r"}]`)
		ann.want(`433[{"ok":true,"data":[{"id":"ann","name":"Ann","connections":1},{"id":"bob","name":"Bob","data":{"b":"é"},"connections":1}]}]`)

		// The deepest data still fits into every answer.
		deepest := strings.Repeat("[", 24) + strings.Repeat("]", 24)
		bob.send(`{"type":"presence","room":"r","data":` + deepest + `}`)
		readable(t, ann.want(`42["presence:update",`))
		ann.send(`424["presence:get",{"room":"r"}]`, `425["room:join",{"room":"r"}]`)
		readable(t, ann.want(`434[`))
		readable(t, ann.want(`435[`))
		bob.send(`{"type":"presence","room":"r","data":[`+deepest+`]}`, `{"type":"presence","room":"r","data":"b"}`)
		bob.want(`{"error":"Presence data must be JSON, at most 24 deep","code":"INVALID_ARGUMENT"}`)
		ann.want(`42["presence:update",{"room":"r","user":{"id":"bob","name":"Bob","data":"b"}}]`)

		// A second tab of his, and its end, is nothing to anybody.
		tab := w.connect("ann", `{"name":"Ann"}`)
		tab.send(`421["room:join",{"room":"r","presence":null}]`)
		tab.want(`431[`)
		tab.conn.CloseNow()
		cid := w.plainUser("cid")
		cid.send(`{"type":"join","room":"r"}`)
		bob.want(`{"type":"user_joined","room":"r","user":{"id":"cid"},"viewers":3}`)
		ann.want(`42["presence:join",{"room":"r","user":{"id":"cid"}}]`)
		cid.conn.CloseNow()
		pause(4 * time.Second)
		ann.quiet()
		pause(time.Second)
		ann.want(`42["presence:leave",{"room":"r","user":{"id":"cid"}}]`)
		bob.want(`{"type":"user_left","room":"r","user":{"id":"cid"},"viewers":2}`)
		ann.quiet()
	})
}

// readable checks that a client with the usual limits takes a packet.
func readable(t *testing.T, packet string) {
	t.Helper()
	var dec socketio.Decoder
	if _, _, err := dec.Text([]byte(packet[1:])); err != nil {
		t.Errorf("%s: %v", packet, err)
	}
}

func TestPresenceRefused(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		ann := w.connect("ann")
		ann.send(`421["room:join",{"room":"r"}]`)
		ann.want(`431[`)
		p := w.connect("bob", `{"permissions":{"rooms":{"r":["join"],"q":["join","publish","presence"],"in":["join","publish","presence"]}}}`)
		p.send(`421["room:join",{"room":"r","presence":{"at":1}}]`)
		if ack := p.want(`431[{"ok":true`); strings.Contains(ack, "presence") {
			t.Errorf("without the right: %s", ack)
		}
		p.send(`421["room:join",{"room":"in"}]`)
		p.want(`431[{"ok":true`)
		big := `"` + strings.Repeat("x", 4095) + `"`
		for _, tc := range []struct{ emit, code string }{
			{`["presence:get",{"room":"r"}]`, "FORBIDDEN"},
			{`["presence:update",{"room":"r","data":1}]`, "FORBIDDEN"},
			{`["presence:get",{"room":"q"}]`, "FORBIDDEN"},
			{`["presence:update",{"room":"q","data":1}]`, "FORBIDDEN"},
			{`["presence:update",{"room":"in","data":` + big + `}]`, "MESSAGE_TOO_LARGE"},
			{`["room:join",{"room":"q","presence":` + big + `}]`, "MESSAGE_TOO_LARGE"},
			{`["presence:get",{}]`, "INVALID_ARGUMENT"},
			{`["typing",{"room":"q"}]`, "FORBIDDEN"},
			{`["typing"]`, "INVALID_ARGUMENT"},
			{`["room:signal",{"room":"q","event":"e"}]`, "FORBIDDEN"},
			{`["room:signal",{"room":"r","event":"e"}]`, "FORBIDDEN"},
			{`["room:signal",{"room":"in","event":"room:left"}]`, "INVALID_ARGUMENT"},
			{`["room:signal",{"room":"in"}]`, "INVALID_ARGUMENT"},
			{`["room:signal",{"room":"in","event":"e","key":"` + strings.Repeat("k", 129) + `"}]`, "INVALID_ARGUMENT"},
			{`["room:signal",{"room":"in","event":"e","key":3}]`, "INVALID_ARGUMENT"},
			{`["room:signal",{"room":"in","event":"e","data":"` + strings.Repeat("x", 65_536) + `"}]`, "MESSAGE_TOO_LARGE"},
		} {
			p.send(`425` + tc.emit)
			if got := p.want(`435[{"ok":false,"error":{`); !strings.Contains(got, `"code":"`+tc.code+`"`) {
				t.Errorf("%.60s: %s", tc.emit, got)
			}
		}
		for _, emit := range []string{
			`["room:signal",{"room":"in","event":"e","data":{"_placeholder":true,"num":0}}]`,
			`["presence:update",{"room":"in","data":[{"_placeholder":true,"num":0}]}]`,
			`["room:join",{"room":"q","presence":{"_placeholder":true,"num":0}}]`,
		} {
			p.send(`451-6` + emit)
			p.sendBinary([]byte("x"))
			if got := p.want(`436[{"ok":false,"error":{`); !strings.Contains(got, `"code":"INVALID_ARGUMENT"`) {
				t.Errorf("%s: %s", emit, got)
			}
		}
		ann.quiet() // nobody heard of any of it
	})
}

func TestSignals(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		w.srv.Of("/x")
		ann, tab, bob := w.connect("ann"), w.connect("ann"), w.plainUser("bob")
		space := w.dial()
		space.send(`40/x,{"token":"` + token(t, "cid", time.Hour, `{"permissions":{"rooms":{"r":["join","publish"]}}}`) + `"}`)
		space.want(`40/x,`)
		space.want(`42/x,["auth:session",`)
		for _, p := range []*peer{ann, tab} {
			p.send(`421["room:join",{"room":"r"}]`)
			p.want(`431[`)
		}
		space.send(`42/x,1["room:join",{"room":"r"}]`)
		space.want(`43/x,1[`)
		bob.send(`{"type":"join","room":"r","ref":1}`)
		bob.want(`{"type":"ok"`)
		ann.want(`42["presence:join"`)
		tab.want(`42["presence:join"`)

		ann.send(`422["room:signal",{"room":"r","event":"cursor","data":{"x":1,"p":{"_placeholder":true,"num":0}},"key":"m"}]`)
		ann.want(`432[{"ok":true,"data":null}]`)
		tab.want(`42["cursor",{"x":1,"p":{"_placeholder":true,"num":0}},{"room":"r","from":"ann","key":"m"}]`)
		space.want(`42/x,["cursor",{"x":1,"p":{"_placeholder":true,"num":0}},{"room":"r","from":"ann","key":"m"}]`)
		bob.want(`{"type":"signal","room":"r","event":"cursor","data":{"x":1,"p":{"_placeholder":true,"num":0}},"key":"m","from":"ann"}`)
		bob.send(`{"type":"signal","room":"r","event":"wave","ref":2}`)
		bob.want(`{"type":"ok","ref":2,"data":null}`)
		for _, p := range []*peer{ann, tab} {
			p.want(`42["wave",null,{"room":"r","from":"bob"}]`)
		}
		space.want(`42/x,["wave",`)

		// 20 a second, over all his connections.
		for n := range 19 {
			[]*peer{ann, tab}[n%2].send(`42["room:signal",{"room":"r","event":"n"}]`)
			bob.want(`{"type":"signal","room":"r","event":"n"`)
		}
		tab.send(`427["room:signal",{"room":"r","event":"n"}]`)
		for got := ""; !strings.HasPrefix(got, "437"); {
			if got = tab.recv(); strings.HasPrefix(got, "437") && (!strings.Contains(got, `"code":"RATE_LIMITED"`) || !strings.Contains(got, `"retryAfter":1`)) {
				t.Errorf("got %s", got)
			}
		}
		pause(time.Second)
		bob.send(`{"type":"ping"}`)
		bob.want(`{"type":"pong"}`)
		if page, _, _ := w.request("GET", "/api/rooms/r/presence", ""); page != http.StatusUnauthorized {
			t.Errorf("%d", page)
		}
	})
}

// The third exercise of a lesson on signing in to WebSockets: who types on a
// board is seen by the others, and not by himself.
func TestTypingOnABoard(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		ann, bob := w.plainUser("u1", `{"name":"Ann"}`), w.plainUser("u2", `{"name":"Bob"}`)
		ann.send(`{"type":"join","boardId":"board-1"}`, `{"type":"ping"}`)
		ann.want(`{"type":"pong"}`)
		bob.send(`{"type":"join","boardId":"board-1"}`)
		ann.want(`{"type":"user_joined","room":"board-1","user":{"id":"u2","name":"Bob"},"viewers":2}`)
		bob.send(`{"type":"typing","boardId":"board-1"}`)
		if got := ann.recv(); got != `{"type":"user_typing","room":"board-1","user":{"id":"u2","name":"Bob"}}` {
			t.Errorf("got %s", got)
		}
		bob.send(`{"type":"ping"}`)
		bob.want(`{"type":"pong"}`)

		cid := w.connect("u3")
		cid.send(`421["room:join",{"room":"board-1"}]`)
		cid.want(`431[`)
		ann.want(`{"type":"user_joined"`)
		ann.send(`{"type":"typing","room":"board-1","ref":1}`)
		ann.want(`{"type":"ok","ref":1,"data":null}`)
		cid.want(`42["user_typing",{"room":"board-1","user":{"id":"u1","name":"Ann"}}]`)
		cid.send(`422["typing",{"room":"board-1"}]`)
		cid.want(`432[{"ok":true,"data":null}]`)
		ann.want(`{"type":"user_typing","room":"board-1","user":{"id":"u3"}}`)
	})
}

// A right to presence that a refresh takes away, or gives.
func TestPresenceAfterRefresh(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		ann, bob := w.connect("ann"), w.connect("bob")
		for _, p := range []*peer{ann, bob} {
			p.send(`421["room:join",{"room":"r"}]`)
			p.want(`431[`)
		}
		ann.want(`42["presence:join"`)
		bob.send(`422["auth:refresh",{"token":"` + token(t, "bob", time.Hour, `{"permissions":{"rooms":{"r":["join"]}}}`) + `"}]`)
		bob.want(`42["presence:leave",{"room":"r","user":{"id":"ann"}}]`)
		bob.want(`432[{"ok":true`)
		pause(5 * time.Second)
		ann.want(`42["presence:leave",{"room":"r","user":{"id":"bob"}}]`)
		bob.send(`423["auth:refresh",{"token":"` + token(t, "bob", time.Hour) + `"}]`)
		bob.want(`42["presence:join",{"room":"r","user":{"id":"ann"}}]`)
		bob.want(`433[{"ok":true`)
		ann.want(`42["presence:join",{"room":"r","user":{"id":"bob"}}]`)
	})
}

func TestPresenceOverHTTP(t *testing.T) {
	rooms := holdfast.MustRoomList("r", "a/b c")
	reader, readerRecord := auth.NewAPIKey(auth.ScopeRead, rooms)
	publisher, publisherRecord := auth.NewAPIKey(auth.ScopePublish, rooms)
	apiKeys, err := auth.NewAPIKeys(auth.APIKeysConfig{Keys: []auth.APIKey{readerRecord, publisherRecord}})
	if err != nil {
		t.Fatal(err)
	}
	bearer := func(token string) []string { return []string{"Authorization", "Bearer " + token} }
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{APIKeys: apiKeys, AllowedOrigins: []string{"https://app.test"}})
		ann := w.connect("ann", `{"name":"Ann"}`)
		ann.send(`421["room:join",{"room":"a/b c","presence":{"at":1}}]`)
		ann.want(`431[`)
		there := `{"members":[{"id":"ann","name":"Ann","data":{"at":1},"connections":1}],"viewers":1}`
		path := "/api/rooms/a%2Fb%20c/presence"
		for _, tc := range []struct {
			name, method, path string
			header             []string
			status             int
			body               string // all of it, or a code
		}{
			{"key", "GET", path, bearer(reader), 200, there},
			{"nobody there", "GET", "/api/rooms/r/presence", bearer(reader), 200, `{"members":[],"viewers":0}`},
			{"token", "GET", path, bearer(token(t, "bob", time.Hour)), 200, there},
			{"token of a page", "GET", path, append(bearer(token(t, "bob", time.Hour)), "Origin", "https://app.test"), 200, there},
			{"presence alone", "GET", "/api/rooms/r/presence", bearer(token(t, "bob", time.Hour, `{"permissions":{"rooms":{"r":["presence"]}}}`)), 200, `{"members":[],"viewers":0}`},
			{"token without the right", "GET", path, bearer(token(t, "bob", time.Hour, `{"permissions":{"rooms":{"**":["join","publish"]}}}`)), 403, "FORBIDDEN"},
			{"key of another scope", "GET", path, bearer(publisher), 403, "FORBIDDEN"},
			{"key of other rooms", "GET", "/api/rooms/other/presence", bearer(reader), 403, "FORBIDDEN"},
			{"key from a page", "GET", path, append(bearer(reader), "Origin", "https://app.test"), 403, "ORIGIN_NOT_ALLOWED"},
			{"nobody", "GET", path, nil, 401, "UNAUTHENTICATED"},
			{"bad token", "GET", path, bearer("abc"), 401, "UNAUTHENTICATED"},
			{"bad room", "GET", "/api/rooms/*/presence", bearer(reader), 400, "INVALID_ARGUMENT"},
			{"POST", "POST", path, bearer(reader), 405, "INVALID_ARGUMENT"},
			{"HEAD", "HEAD", path, bearer(reader), 200, ""},
		} {
			status, header, body := w.request(tc.method, tc.path, "", tc.header...)
			var refused struct{ Code string }
			_ = json.Unmarshal([]byte(body), &refused)
			if status != tc.status || strings.TrimSpace(body) != tc.body && refused.Code != tc.body {
				t.Errorf("%s: %d %s", tc.name, status, body)
			}
			if got := header.Get("Cache-Control"); status != 405 && got != "no-store" {
				t.Errorf("%s: Cache-Control %q", tc.name, got)
			}
			if origin := header.Get("Access-Control-Allow-Origin"); (origin == "https://app.test") != (len(tc.header) > 2) {
				t.Errorf("%s: allowed origin %q", tc.name, origin)
			}
			if got := header.Get("Allow"); (got == "GET, HEAD") != (status == 405) {
				t.Errorf("%s: Allow %q", tc.name, got)
			}
		}
	})
}

// Whom the application keeps out of a room is not told who is in it.
func TestPresenceOverHTTPAsksOnJoin(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		w.srv.OnJoin(func(_ context.Context, j *server.Join) error {
			if j.Conn == nil && j.Identity.User == "mallory" {
				return holdfast.Errorf(holdfast.Forbidden, "banned")
			}
			return nil
		})
		for user, want := range map[string]int{"alice": 200, "mallory": 403} {
			if status, _, body := w.request("GET", "/api/rooms/r/presence", "", "Authorization", "Bearer "+token(t, user, time.Hour)); status != want {
				t.Errorf("%s: %d %s", user, status, body)
			}
		}
	})
}
