package drill

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/checker"
)

// publisher publishes as one user, by any of the ways there are, and tries again
// with the same id where it got no answer, perhaps by another way.
type publisher struct {
	cluster *cluster
	line    *line
	user    string
	token   string
	run     *checker.Recorder
	wires   map[string]wire // by protocol, while they last
	ref     int
}

// ways are how an event comes into a room.
func ways() []string { return []string{"application", "http", "ws", "socket.io"} }

func (p *publisher) live(rng *rand.Rand, stop <-chan struct{}) {
	for n := 0; ; n++ {
		select {
		case <-stop:
			for _, w := range p.wires {
				w.close()
			}
			return
		default:
		}
		pause(rng, 20*time.Millisecond)
		value := fmt.Sprintf("%s/%d", p.user, n)
		room, id, tries := rooms()[rng.IntN(len(rooms()))], value, 5
		if rng.IntN(5) == 0 {
			id, tries = "", 1
		}
		for range tries {
			if p.publish(ways()[rng.IntN(len(ways()))], room, value, id) && rng.IntN(10) > 0 {
				break
			}
			pause(rng, 20*time.Millisecond)
		}
		if n%50 == 0 {
			p.refused(room, value+"/refused")
		}
	}
}

// publish makes one attempt, and reports whether it was answered.
func (p *publisher) publish(way, room, value, id string) bool {
	a := p.run.Publish(room, value)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	pos, err := p.by(ctx, way, eventName, room, value, id)
	if err != nil {
		return false
	}
	a.Acked(pos)
	return true
}

// refused publishes what can't be published, so that nothing is appended.
func (p *publisher) refused(room, value string) {
	a := p.run.Publish(room, value)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := p.by(ctx, "http", "room:forged", room, value, ""); holdfast.CodeOf(err) == holdfast.InvalidArgument {
		a.Refused()
	}
}

func (p *publisher) by(ctx context.Context, way, event, room, value, id string) (holdfast.Position, error) {
	switch way {
	case "application":
		_, srv := p.cluster.nodes[len(value)%len(p.cluster.nodes)].where()
		data, _ := json.Marshal(value)
		return srv.PublishEvent(ctx, holdfast.Event{Room: room, Name: event, Data: data, From: p.user, ID: id})
	case "http":
		return p.http(ctx, event, room, value, id)
	case "ws":
		return p.wire(ctx, way, dialPlain, event, room, value, id)
	default:
		return p.wire(ctx, way, dialSocketIO, event, room, value, id)
	}
}

func fields(event, value, id string) map[string]any {
	f := map[string]any{"event": event, "data": value}
	if id != "" {
		f["id"] = id
	}
	return f
}

func (p *publisher) http(ctx context.Context, event, room, value, id string) (pos holdfast.Position, err error) {
	body, _ := json.Marshal(fields(event, value, id))
	req, err := http.NewRequestWithContext(ctx, "POST", "http://drill.test/api/rooms/"+room+"/events", bytes.NewReader(body))
	if err != nil {
		return pos, err
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := p.line.http().Do(req)
	if err != nil {
		return pos, err
	}
	defer resp.Body.Close()
	var answer payload
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return pos, err
	}
	if resp.StatusCode != http.StatusOK {
		return pos, holdfast.Errorf(answer.Code, "%s", resp.Status)
	}
	return answer.at(), nil
}

// wire publishes by a connection, which it makes if need be.
func (p *publisher) wire(ctx context.Context, name string, dial dialer, event, room, value, id string) (pos holdfast.Position, err error) {
	w := p.wires[name]
	if w == nil {
		if w, err = dial(ctx, p.line, p.token); err != nil {
			return pos, err
		}
		p.wires[name] = w
	}
	defer func() {
		if err != nil {
			w.close()
			delete(p.wires, name)
		}
	}()
	p.ref++
	f := fields(event, value, id)
	f["room"] = room
	if err := w.ask(ctx, p.ref, "publish", f); err != nil {
		return pos, err
	}
	for {
		m, err := w.next(ctx)
		switch {
		case err != nil:
			return pos, err
		case m.ref != p.ref:
		case m.kind == "ok":
			return m.at, nil
		case m.kind == "error":
			return pos, holdfast.Errorf(m.code, "refused")
		}
	}
}
