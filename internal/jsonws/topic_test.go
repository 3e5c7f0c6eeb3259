package jsonws_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/jsonscan"
	"github.com/holdfast-dev/holdfast/internal/jsonws"
	"github.com/holdfast-dev/holdfast/internal/wiretest"
)

// FuzzParseTopic compares ParseTopic with encoding/json, and with Parse for
// the same command in the other form.
func FuzzParseTopic(f *testing.F) {
	for _, c := range wiretest.Load(f, topicTranscripts) {
		if text, ok := c.Get("client"); ok {
			f.Add([]byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		m, err := jsonws.ParseTopic(data)
		if !bytes.Equal(before, data) {
			t.Fatalf("%q was changed to %q", before, data)
		}
		for _, answer := range [][]byte{jsonws.AppendTopicOK(nil, m.Ref, nil), jsonws.AppendTopicError(nil, &m, nil), jsonws.AppendTopicPong(nil, &m)} {
			if err := jsonscan.Check(answer, jsonscan.Limits{Depth: jsonws.MaxDepth}); err != nil {
				t.Errorf("%q: answered by %q: %v", data, answer, err)
			}
		}
		if err != nil {
			if holdfast.CodeOf(err) != holdfast.InvalidArgument {
				t.Errorf("%q: %v", data, err)
			}
			return
		}
		var frame loose
		if err := json.Unmarshal(data, &frame); err != nil {
			t.Fatalf("%q: %v", data, err)
		}
		if frame.text("topic") != m.Topic {
			t.Fatalf("%q: topic is %q", data, m.Topic)
		}
		if m.Type == jsonws.TypeEvent {
			if m.Event != m.Topic || m.Data != nil && !bytes.Equal(m.Data, frame["data"]) {
				t.Errorf("%q: %q %q", data, m.Event, m.Data)
			}
			return
		}
		inner := bytes.TrimSpace(frame["data"])
		if m.Type == jsonws.TypePing || m.Type == jsonws.TypePresenceGet || len(inner) < 3 || inner[0] != '{' {
			return
		}
		// A command means what it means in the other form.
		var keys map[string]json.RawMessage
		if err := json.Unmarshal(inner, &keys); err != nil || hasFold(keys, "type") {
			return
		}
		other, err := jsonws.Parse([]byte(`{"type":"` + m.Type + `",` + string(inner[1:])))
		if err != nil {
			if keys["ref"] != nil {
				return // that of the frame decided
			}
			t.Fatalf("%q: %v in the other form", data, err)
		}
		if other.Room != m.Room || other.Event != m.Event || other.ID != m.ID || other.Token != m.Token || other.Key != m.Key || !bytes.Equal(other.Data, m.Data) || (other.Since == nil) != (m.Since == nil) {
			t.Errorf("%q: %+v, in the other form %+v", data, m, other)
		}
	})
}

func hasFold(keys map[string]json.RawMessage, name string) bool {
	for k := range keys {
		if strings.EqualFold(k, name) {
			return true
		}
	}
	return false
}
