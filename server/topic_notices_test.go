package server_test

import (
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/server"
)

// What is said beside a room's order is said by topics as well.
func TestTopicNotices(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		alice, bob := w.topicUser("alice"), w.connect("bob")
		alice.send(`{"topic":"join","data":{"room":"r","ref":1}}`)
		if got := alice.want(`{"topic":"ok"`); !strings.Contains(got, `"presence":[{"id":"alice","connections":1}]`) {
			t.Errorf("got %s", got)
		}
		bob.send(`421["room:join",{"room":"r"}]`)
		bob.want(`431[`)
		alice.want(`{"topic":"presence:join","data":{"room":"r","user":{"id":"bob"},"viewers":2}}`)
		for _, tc := range []struct{ send, want string }{
			{`42["presence:update",{"room":"r","data":{"at":1}}]`, `{"topic":"presence:update","data":{"room":"r","user":{"id":"bob","data":{"at":1}}}}`},
			{`42["typing",{"room":"r"}]`, `{"topic":"user_typing","data":{"room":"r","user":{"id":"bob"}}}`},
			{`42["room:signal",{"room":"r","event":"cursor","data":[3],"key":"mouse"}]`, `{"topic":"cursor","data":[3],"meta":{"room":"r","from":"bob","key":"mouse"}}`},
			{`42["room:signal",{"room":"r","event":"cursor"}]`, `{"topic":"cursor","data":null,"meta":{"room":"r","from":"bob"}}`},
			{`42["room:signal",{"room":"r","event":"error","data":1,"key":"k"}]`, `{"topic":"event","data":{"type":"signal","room":"r","event":"error","data":1,"key":"k","from":"bob"}}`},
		} {
			bob.send(tc.send)
			if got := alice.recv(); got != tc.want {
				t.Errorf("%s arrived as\n\t%s, want\n\t%s", tc.send, got, tc.want)
			}
		}
		// And they say it by topics.
		alice.send(`{"topic":"presence","data":{"room":"r","data":"here"}}`)
		bob.want(`42["presence:update",{"room":"r","user":{"id":"alice","data":"here"}}]`)
		alice.send(`{"topic":"typing","data":{"room":"r"}}`)
		bob.want(`42["user_typing",{"room":"r","user":{"id":"alice"}}]`)
		alice.send(`{"topic":"signal","data":{"room":"r","event":"cursor","data":[4],"key":"mouse"}}`)
		bob.want(`42["cursor",[4],{"room":"r","from":"alice","key":"mouse"}]`)
		alice.send(`{"topic":"presence:get","data":{"room":"r","ref":2}}`)
		alice.want(`{"topic":"ok","data":[{"id":"alice","data":"here","connections":1},{"id":"bob","data":{"at":1},"connections":1}],"ref":2}`)
		bob.send(`422["room:leave",{"room":"r"}]`)
		alice.want(`{"topic":"presence:leave","data":{"room":"r","user":{"id":"bob"`)
	})
}
