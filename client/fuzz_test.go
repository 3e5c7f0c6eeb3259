package client

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/internal/refusal"
	"github.com/holdfast-dev/holdfast/socketio"
	"github.com/holdfast-dev/holdfast/tokens"
)

// FuzzAnswers reads what a server may say in places where this package itself
// looks into it.
func FuzzAnswers(f *testing.F) {
	for _, text := range []string{
		`{"ok":true,"data":{"a":1}}`, `{"ok":false,"error":{"message":"No.","code":"FORBIDDEN","retryAfter":3}}`,
		`{"room":"a","epoch":"e","offset":1}`, `{"message":"jwt expired","data":{"code":"TOKEN_EXPIRED"}}`,
		`{"error":"No.","code":"CONFLICT","requestId":"r","retryAfter":1e300}`, `null`, `[`, ``,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		args := socketio.Args{Values: []json.RawMessage{json.RawMessage("1"), data}}
		if m := new(meta); m.read(args, new(meta)) && m.position().Epoch != m.Epoch {
			t.Error("another epoch")
		}
		if out, err := unwrap(socketio.Args{Values: []json.RawMessage{data}}); err == nil && out.Len() != 1 {
			t.Error("an argument was lost")
		}
		if err := connectError(data); err == nil || !tokens.Final(err) && err.Error() == "" {
			t.Error(err)
		}
		if err := refusal.Read(500, nil, data).Err; err == nil || !err.Code.Known() || err.RetryAfter < 0 || err.RetryAfter > time.Hour {
			t.Error(err)
		}
	})
}
