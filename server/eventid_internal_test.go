package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/socketio"
)

func values(texts ...string) socketio.Args {
	var args socketio.Args
	for _, text := range texts {
		args.Values = append(args.Values, json.RawMessage(text))
	}
	return args
}

func TestCutEventID(t *testing.T) {
	long := strings.Repeat("i", holdfast.MaxEventID)
	for _, c := range []struct {
		args []string
		id   string
		left int // -1: refused
	}{
		{nil, "", 0},
		{[]string{`{"title":"Milk"}`}, "", 1},
		{[]string{`{"$hf":{"id":"a"}}`}, "a", 0},
		{[]string{`1`, `{"$hf":{"id":"a"}}`}, "a", 1},
		{[]string{`1`, "{ \"$hf\" :\t{\n\"id\" : \"a\" } }"}, "a", 1},
		{[]string{`{"\u0024hf":{"id":"\u0061"}}`}, "a", 0},
		{[]string{`{"$hf":{"id":"` + long + `"}}`}, long, 0},
		{[]string{`{"$hf":{"id":"é✓"}}`}, "é✓", 0},
		// Only the last argument counts, and only its own keys.
		{[]string{`{"$hf":{"id":"a"}}`, `1`}, "", 2},
		{[]string{`{"in":{"$hf":{"id":"a"}}}`}, "", 1},
		{[]string{`[{"$hf":{"id":"a"}}]`}, "", 1},
		{[]string{`"{\"$hf\":{\"id\":\"a\"}}"`}, "", 1},
		{[]string{`{"price":"$hf"}`}, "", 1},
		{[]string{`{"$HF":{"id":"a"}}`}, "", 1},
		{[]string{`{}`}, "", 1},
		{[]string{`{"x":"\u00e9"}`}, "", 1},
		// Wrong ones.
		{[]string{`{"$hf":null}`}, "", -1},
		{[]string{`{"$hf":"a"}`}, "", -1},
		{[]string{`{"$hf":{}}`}, "", -1},
		{[]string{`{"$hf":{"id":""}}`}, "", -1},
		{[]string{`{"$hf":{"id":7}}`}, "", -1},
		{[]string{`{"$hf":{"id":null}}`}, "", -1},
		{[]string{`{"$hf":{"ID":"a"}}`}, "", -1},
		{[]string{`{"$hf":{"id":"a","v":2}}`}, "", -1},
		{[]string{`{"$hf":{"id":"a","id":"b"}}`}, "", -1},
		{[]string{`{"$hf":{"id":"a"},"$hf":{"id":"b"}}`}, "", -1},
		{[]string{`{"title":"Milk","$hf":{"id":"a"}}`}, "", -1},
		{[]string{`{"$hf":{"id":"a"},"title":"Milk"}`}, "", -1},
		{[]string{`{"$hf":{"id":"` + long + `i"}}`}, "", -1},
		{[]string{`{"$hf":{"id":"a\nb"}}`}, "", -1},
		{[]string{`{"$hf":{"id":{"_placeholder":true,"num":0}}}`}, "", -1},
	} {
		args, id, err := cutEventID(values(c.args...))
		if c.left < 0 {
			if !errors.Is(err, holdfast.InvalidArgument) {
				t.Errorf("%s: %q, %v", c.args, id, err)
			}
			continue
		}
		if err != nil || id != c.id || len(args.Values) != c.left {
			t.Errorf("%s: %q, %d left, %v; want %q, %d", c.args, id, len(args.Values), err, c.id, c.left)
		}
	}
}

// Events without an id cost nothing to look at.
func TestCutEventIDAllocations(t *testing.T) {
	args := values(`{"title":"Milk","price":"$7","more":{"a":[1,2,3]}}`)
	if n := testing.AllocsPerRun(100, func() { _, _, _ = cutEventID(args) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzCutEventID compares with encoding/json.
func FuzzCutEventID(f *testing.F) {
	for _, text := range []string{`{"$hf":{"id":"a"}}`, `{"x":1,"$hf":{"id":"a"}}`, `{"\u0024hf":{"id":"\ud83d\ude00"}}`, `{"$hf":{"id":"a","b":[{}]}}`, `[]`, `{"$hf":{"id":"a"},"$hf":1}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		packet := socketio.Packet{Type: socketio.Event, Data: append(append([]byte(`["e",`), data...), ']')}
		var dec socketio.Decoder
		p, complete, err := dec.Text(packet.Append(nil))
		if err != nil || !complete {
			return
		}
		_, args, err := p.Event()
		if err != nil || len(args.Values) == 0 {
			return
		}
		last := args.Values[len(args.Values)-1]
		left, id, err := cutEventID(args)
		var object map[string]json.RawMessage
		_ = json.Unmarshal(last, &object) // what is no object stays nil
		hf, mentioned := object["$hf"]
		if mentioned != (err != nil || id != "") {
			t.Fatalf("%s: %q, %v", last, id, err)
		}
		if want := len(args.Values); err != nil {
			if left.Len() != want {
				t.Fatalf("%s: taken off, and refused", last)
			}
			return
		} else if id != "" {
			var in struct{ ID string }
			if merr := json.Unmarshal(hf, &in); merr != nil || in.ID != id || left.Len() != want-1 || holdfast.CheckEventID(id) != nil {
				t.Fatalf("%s: %q, %v", last, id, merr)
			}
		}
	})
}

func TestAckCodec(t *testing.T) {
	long := strings.Repeat("x", maxKeptAck)
	for name, c := range map[string]struct {
		args socketio.Args
		err  error
		want string // what the error's JSON is, where it is not that of err
	}{
		"nothing":            {},
		"a value":            {args: values(`{"ok":1}`)},
		"values":             {args: values(`1`, `"é"`, `[[[]]]`)},
		"a missing value":    {args: values(``)},
		"binary":             {args: socketio.Args{Values: values(`{"_placeholder":true,"num":0}`, `{"_placeholder":true,"num":1}`).Values, Attachments: [][]byte{{0, 1, 2}, {}}}},
		"a refusal":          {err: holdfast.Errorf(holdfast.Conflict, "taken")},
		"one with details":   {err: &holdfast.Error{Code: holdfast.InvalidArgument, Message: "m", Details: []byte(`{"by":"bob"}`), RetryAfter: time.Second}},
		"one with a bad one": {err: &holdfast.Error{Code: holdfast.NotFound, Message: "m", Details: []byte(`{`)}},
		"a bare code":        {err: holdfast.Forbidden},
		"long":               {args: values(`"` + long + `"`), want: string(refusal(errHandled()))},
		"long binary":        {args: socketio.Args{Values: values(`{"_placeholder":true,"num":0}`).Values, Attachments: [][]byte{[]byte(long + long)}}, want: string(refusal(errHandled()))},
		"a long refusal":     {err: holdfast.Errorf(holdfast.Conflict, "%s", long), want: string(refusal(errHandled()))},
	} {
		kept := encodeAck(c.args, c.err)
		if len(kept) > maxKeptAck {
			t.Errorf("%s: %d bytes are kept", name, len(kept))
		}
		args, err := decodeAck(kept)
		switch {
		case c.want != "":
			if err == nil || string(refusal(err)) != c.want {
				t.Errorf("%s: %v", name, err)
			}
		case c.err != nil:
			if err == nil || !bytes.Equal(refusal(err), refusal(c.err)) {
				t.Errorf("%s: %v", name, err)
			}
		case err != nil:
			t.Errorf("%s: %v", name, err)
		default:
			if got, want := ackFrame("/", 1, args), ackFrame("/", 1, c.args); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: %v, want %v", name, got, want)
			}
		}
	}
}

// FuzzDecodeAck: whatever a store gives back, a repeat is answered.
func FuzzDecodeAck(f *testing.F) {
	f.Add(encodeAck(values(`1`), nil))
	f.Add(encodeAck(socketio.Args{}, holdfast.Conflict))
	f.Add([]byte{ackValues, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, ack []byte) {
		args, err := decodeAck(ack)
		if err != nil {
			if holdfast.AsError(err) == nil {
				t.Fatal("no refusal")
			}
			return
		}
		again, err := decodeAck(encodeValues(args))
		if err != nil && len(encodeValues(args)) <= maxKeptAck {
			t.Fatal(err)
		}
		if err == nil && fmt.Sprint(again) != fmt.Sprint(args) {
			t.Fatalf("%v, then %v", args, again)
		}
	})
}

func TestFinal(t *testing.T) {
	want := []holdfast.Code{
		holdfast.InvalidCredentials, holdfast.OriginNotAllowed, holdfast.Forbidden, holdfast.NotFound, holdfast.Conflict,
		holdfast.InvalidArgument, holdfast.MessageTooLarge, holdfast.ProtocolError,
	}
	for _, info := range holdfast.Codes() {
		if got := final(info.Code); got != slices.Contains(want, info.Code) {
			t.Errorf("%s: %t", info.Code, got)
		}
	}
	for _, err := range []error{errors.New("disk full"), holdfast.Code("TEAPOT")} {
		if final(err) {
			t.Errorf("%v is final", err)
		}
	}
}

// What somebody without a name was answered goes with the connection.
func TestAnonymousIDsAreForgotten(t *testing.T) {
	srv := &Server{ids: newEventIDs(nil, slog.New(slog.DiscardHandler))}
	l := &link{srv: srv, id: "c1"}
	for _, scope := range []string{anonymousScope(l), "uc1"} {
		if _, err := srv.ids.once(t.Context(), onceEvent{key: idKey{scope, "i"}}, func() (socketio.Args, error) { return values(`1`), nil }); err != nil {
			t.Fatal(err)
		}
	}
	l.finished()
	if w := srv.ids.window; len(w.records) != 1 || w.records[idKey{"uc1", "i"}] == nil {
		t.Errorf("%d are left", len(w.records))
	}
}

// A handler that panics, or ends its goroutine, holds nobody up.
func TestOnceEndsWithoutAnAnswer(t *testing.T) {
	for name, end := range map[string]func(){"panic": func() { panic("do") }, "Goexit": runtime.Goexit} {
		ids := newEventIDs(nil, slog.New(slog.DiscardHandler))
		ev := onceEvent{key: idKey{"u", "i"}, refusals: true}
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() { _ = recover() }()
			_, _ = ids.once(t.Context(), ev, func() (socketio.Args, error) { end(); return socketio.Args{}, nil })
		}()
		<-done
		args, err := ids.once(t.Context(), ev, func() (socketio.Args, error) { return values(`1`), nil })
		if err != nil || args.Len() != 1 || len(ids.running) > 0 {
			t.Errorf("%s: %v, %v, %d running", name, args, err, len(ids.running))
		}
	}
}

// TestIDWindow compares a window with a list of all there ever was.
func TestIDWindow(t *testing.T) {
	type entry struct {
		key  idKey
		ack  string
		at   time.Time
		size int
	}
	rapid.Check(t, func(t *rapid.T) {
		w := idWindow{limits: idLimits{
			age: 10 * time.Second, perScope: rapid.IntRange(1, 5).Draw(t, "perScope"),
			scopeBytes: rapid.IntRange(0, 5).Draw(t, "scopeBytes") * idRecordCost, totalBytes: rapid.IntRange(0, 10).Draw(t, "totalBytes") * idRecordCost,
		}}
		var model []entry // the oldest first
		now := time.Unix(0, 0)
		sums := func(scope string) (count, inScope, all int) {
			for _, e := range model {
				all += e.size
				if e.key.scope == scope {
					count++
					inScope += e.size
				}
			}
			return count, inScope, all
		}
		expire := func() {
			model = slices.DeleteFunc(model, func(e entry) bool { return now.Sub(e.at) >= w.limits.age })
		}
		anyKey := rapid.Custom(func(t *rapid.T) idKey {
			return idKey{rapid.SampledFrom([]string{"ua", "ub", "pa"}).Draw(t, "scope"), rapid.StringMatching(`[a-h]`).Draw(t, "id")}
		})
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				k, ack := anyKey.Draw(t, "key"), rapid.StringMatching(`x{0,300}`).Draw(t, "ack")
				w.add(k, "e", []byte(ack), now)
				expire()
				model = slices.DeleteFunc(model, func(e entry) bool { return e.key == k })
				model = append(model, entry{k, ack, now, idRecordCost + len(k.scope) + len(k.id) + 1 + len(ack)})
				for {
					count, inScope, _ := sums(k.scope)
					if count <= w.limits.perScope && inScope <= w.limits.scopeBytes {
						break
					}
					i := slices.IndexFunc(model, func(e entry) bool { return e.key.scope == k.scope })
					model = slices.Delete(model, i, i+1)
				}
				for {
					if _, _, all := sums(""); all <= w.limits.totalBytes {
						break
					}
					model = model[1:]
				}
			},
			"later": func(t *rapid.T) { now = now.Add(time.Duration(rapid.IntRange(0, 4).Draw(t, "s")) * time.Second) },
			"forget": func(t *rapid.T) {
				scope := anyKey.Draw(t, "key").scope
				w.forget(scope)
				model = slices.DeleteFunc(model, func(e entry) bool { return e.key.scope == scope })
			},
			"find": func(t *rapid.T) {
				k := anyKey.Draw(t, "key")
				r := w.find(k, now)
				expire()
				i := slices.IndexFunc(model, func(e entry) bool { return e.key == k })
				if (r != nil) != (i >= 0) || r != nil && string(r.ack) != model[i].ack {
					t.Fatalf("%v: %v, want entry %d of %v", k, r, i, model)
				}
			},
			"": func(t *rapid.T) {
				_ = w.find(idKey{}, now) // what is over is dropped at the next use
				expire()
				_, _, all := sums("")
				if w.bytes != all || w.all.Len() != len(model) || len(w.records) != len(model) {
					t.Fatalf("%d bytes, %d listed, %d records; want %d bytes of %d", w.bytes, w.all.Len(), len(w.records), all, len(model))
				}
				scopes := make(map[string]bool)
				for _, e := range model {
					scopes[e.key.scope] = true
				}
				if len(w.scopes) != len(scopes) {
					t.Fatalf("%d scopes, want %d", len(w.scopes), len(scopes))
				}
				for name, s := range w.scopes {
					if count, inScope, _ := sums(name); s.list.Len() != count || s.bytes != inScope {
						t.Fatalf("scope %s: %d of %d bytes, want %d of %d", name, s.list.Len(), s.bytes, count, inScope)
					}
				}
			},
		})
	})
}
