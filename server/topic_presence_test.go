package server_test

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/server"
)

// Who is there, who types, and signals are the same over topics.
func TestTopicPresence(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		ann, bob, cid := w.topicUser("ann", `{"name":"Ann"}`), w.connect("bob"), w.plainUser("cid")
		ann.send(`{"topic":"join","data":{"room":"r","presence":{"at":1}},"ref":1}`)
		if ok := ann.want(`{"topic":"ok","data":{"room":"r","epoch":"`); !strings.HasSuffix(ok, `"offset":0,"presence":[{"id":"ann","name":"Ann","data":{"at":1},"connections":1}]},"ref":1}`) {
			t.Errorf("answer %s", ok)
		}
		bob.send(`421["room:join",{"room":"r","presence":[2]}]`)
		if ack := bob.want(`431[{"ok":true`); !strings.Contains(ack, `{"id":"ann","name":"Ann","data":{"at":1},"connections":1}`) {
			t.Errorf("ack %s", ack)
		}
		ann.want(`{"topic":"presence:join","data":{"room":"r","user":{"id":"bob","data":[2]},"viewers":2}}`)
		cid.send(`{"type":"join","room":"r","ref":1}`)
		cid.want(`{"type":"ok"`)
		ann.want(`{"topic":"presence:join","data":{"room":"r","user":{"id":"cid"},"viewers":3}}`)
		bob.want(`42["presence:join"`)

		for _, topic := range []string{"presence:update", "presence"} {
			data := `{"by":"` + topic + `"}`
			ann.send(`{"topic":"` + topic + `","data":{"room":"r","data":` + data + `},"ref":2}`)
			ann.want(`{"topic":"ok","data":null,"ref":2}`)
			bob.want(`42["presence:update",{"room":"r","user":{"id":"ann","name":"Ann","data":` + data + `}}]`)
			cid.want(`{"type":"presence_updated","room":"r","user":{"id":"ann","name":"Ann","data":` + data + `}}`)
		}
		bob.send(`422["presence:update",{"room":"r","data":3}]`)
		bob.want(`432[{"ok":true,"data":null}]`)
		ann.want(`{"topic":"presence:update","data":{"room":"r","user":{"id":"bob","data":3}}}`)
		cid.want(`{"type":"presence_updated"`)
		ann.send(`{"topic":"presence:get","data":{"room":"r","ref":3}}`)
		ann.want(`{"topic":"ok","data":[{"id":"ann","name":"Ann","data":{"by":"presence"},"connections":1},{"id":"bob","data":3,"connections":1},{"id":"cid","connections":1}],"ref":3}`)

		ann.send(`{"topic":"typing","data":{"room":"r","ref":4}}`)
		ann.want(`{"topic":"ok","data":null,"ref":4}`)
		bob.want(`42["user_typing",{"room":"r","user":{"id":"ann","name":"Ann"}}]`)
		cid.want(`{"type":"user_typing","room":"r","user":{"id":"ann","name":"Ann"}}`)
		cid.send(`{"type":"typing","room":"r"}`)
		ann.want(`{"topic":"user_typing","data":{"room":"r","user":{"id":"cid"}}}`)
		bob.want(`42["user_typing"`)

		for _, topic := range []string{"signal", "room:signal"} {
			ann.send(`{"topic":"` + topic + `","data":{"room":"r","event":"cursor","data":{"x":1},"key":"m"},"ref":5}`)
			ann.want(`{"topic":"ok","data":null,"ref":5}`)
			bob.want(`42["cursor",{"x":1},{"room":"r","from":"ann","key":"m"}]`)
			cid.want(`{"type":"signal","room":"r","event":"cursor","data":{"x":1},"key":"m","from":"ann"}`)
		}
		bob.send(`423["room:signal",{"room":"r","event":"cursor","data":{"x":2},"key":"m"}]`)
		bob.want(`433[{"ok":true`)
		ann.want(`{"topic":"cursor","data":{"x":2},"meta":{"room":"r","from":"bob","key":"m"}}`)
		cid.want(`{"type":"signal"`)
		cid.send(`{"type":"signal","room":"r","event":"error"}`)
		ann.want(`{"topic":"event","data":{"type":"signal","room":"r","event":"error","data":null,"from":"cid"}}`)
		bob.want(`42["error",null,{"room":"r","from":"cid"}]`)

		bob.conn.CloseNow()
		pause(5 * time.Second)
		ann.want(`{"topic":"presence:leave","data":{"room":"r","user":{"id":"bob"},"viewers":2}}`)

		// Without the right to presence, and without membership.
		dan := w.topicUser("dan", `{"permissions":{"rooms":{"r":["join","publish"],"q":["join"]}}}`)
		dan.send(`{"topic":"join","data":{"room":"r","presence":1},"ref":1}`)
		if ok := dan.want(`{"topic":"ok"`); strings.Contains(ok, "presence") {
			t.Errorf("without the right: %s", ok)
		}
		for _, send := range []string{
			`{"topic":"presence:get","data":{"room":"r"},"ref":6}`, `{"topic":"presence","data":{"room":"r","data":1},"ref":6}`,
			`{"topic":"typing","data":{"room":"q"},"ref":6}`, `{"topic":"signal","data":{"room":"q","event":"e"},"ref":6}`,
		} {
			dan.send(send)
			if got := dan.want(`{"topic":"error"`); !strings.Contains(got, `"code":"FORBIDDEN"`) || !strings.HasSuffix(got, `,"ref":6}`) {
				t.Errorf("%s: %s", send, got)
			}
		}
	})
}
