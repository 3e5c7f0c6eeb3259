package server_test

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/server"
)

// A room with too many users says so in every protocol, and says who is there
// once they are fewer.
func TestPresenceLimit(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{PresenceLimit: 3})
		ann, bob, cid := w.connect("ann"), w.plainUser("bob"), w.topicUser("cid")
		ann.send(`421["room:join",{"room":"r"}]`)
		ann.want(`431[`)
		bob.send(`{"type":"join","room":"r","ref":1}`)
		bob.want(`{"type":"ok"`)
		cid.send(`{"topic":"join","data":{"room":"r"},"ref":1}`)
		cid.want(`{"topic":"ok"`)
		ann.want(`42["presence:join"`)
		ann.want(`42["presence:join"`)
		bob.want(`{"type":"user_joined"`)

		dan := w.connect("dan")
		dan.send(`421["room:join",{"room":"r","presence":{"at":4}}]`)
		if ack := dan.want(`431[{"ok":true,"data":{"room":"r","epoch":"`); !strings.HasSuffix(ack, `"offset":0,"viewers":4}}]`) {
			t.Errorf("ack %s", ack)
		}
		ann.want(`42["presence:paused",{"room":"r","viewers":4}]`)
		bob.want(`{"type":"presence_paused","room":"r","viewers":4}`)
		cid.want(`{"topic":"presence:paused","data":{"room":"r","viewers":4}}`)

		eve := w.plainUser("eve")
		eve.send(`{"type":"join","room":"r","ref":1}`)
		if ok := eve.want(`{"type":"ok","ref":1,"data":{"room":"r",`); !strings.HasSuffix(ok, `"viewers":5}}`) {
			t.Errorf("answer %s", ok)
		}
		first := `[{"id":"ann","connections":1},{"id":"bob","connections":1},{"id":"cid","connections":1}]`
		dan.send(`422["presence:get",{"room":"r"}]`)
		dan.want(`432[{"ok":true,"data":` + first + `}]`)
		status, _, body := w.request("GET", "/api/rooms/r/presence", "", "Authorization", "Bearer "+token(t, "fay", time.Hour))
		if want := `{"members":` + first + `,"viewers":5}`; status != 200 || strings.TrimSpace(body) != want {
			t.Errorf("%d %s, want %s", status, body, want)
		}
		eve.send(`{"type":"ping"}`)
		eve.want(`{"type":"pong"}`) // her join is over: typing may miss who has only its answer
		dan.send(`423["typing",{"room":"r"}]`)
		dan.want(`433[`)
		ann.want(`42["user_typing",{"room":"r","user":{"id":"dan"}}]`)
		bob.want(`{"type":"user_typing"`)
		cid.want(`{"topic":"user_typing"`)
		eve.want(`{"type":"user_typing"`)

		ann.conn.CloseNow()
		pause(5 * time.Second) // four are left
		cid.conn.CloseNow()
		pause(5 * time.Second)
		for _, want := range []string{
			`{"type":"user_left","room":"r","user":{"id":"ann"},"viewers":2}`,
			`{"type":"user_left","room":"r","user":{"id":"cid"},"viewers":1}`,
			`{"type":"user_joined","room":"r","user":{"id":"dan","data":{"at":4}},"viewers":2}`,
			`{"type":"user_joined","room":"r","user":{"id":"eve"},"viewers":3}`,
			`{"type":"presence_resumed","room":"r","viewers":3}`,
		} {
			bob.want(want)
		}
		dan.want(`42["presence:join",{"room":"r","user":{"id":"bob"}}]`)
		dan.want(`42["presence:join",{"room":"r","user":{"id":"eve"}}]`)
		dan.want(`42["presence:resumed",{"room":"r","viewers":3}]`)
		eve.want(`{"type":"user_joined","room":"r","user":{"id":"bob"},"viewers":3}`)
		eve.want(`{"type":"user_joined","room":"r","user":{"id":"dan","data":{"at":4}},"viewers":3}`)
		eve.want(`{"type":"presence_resumed","room":"r","viewers":3}`)
		dan.quiet()
	})
}
