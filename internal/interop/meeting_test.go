package interop

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/internal/jsonws"
	"github.com/holdfast-dev/holdfast/tokens"
)

// canonical is how events are compared: as JSON with sorted keys, as /ws shows
// them.
func (m *meeting) canonical(event map[string]any) string {
	m.t.Helper()
	text, err := json.Marshal(event)
	if err != nil {
		m.t.Fatal(err)
	}
	return string(text)
}

// parseEvent reads the object that /ws sends of an event.
func parseEvent(text []byte) (event map[string]any, err error) {
	err = json.Unmarshal(text, &event)
	delete(event, "type")
	return event, err
}

// publish gives each of the three publishers n events more, and does not wait.
func (m *meeting) publish(n int) {
	m.t.Helper()
	names, data := meetingNames(), meetingData()
	for _, by := range []string{"socket.io", "ws", byHTTP} {
		var events []published
		for i := range n {
			number := len(m.sent[by]) + i
			ev := published{Number: number, Event: names[number%len(names)], Data: json.RawMessage(data[number%len(data)])}
			if number%3 == 0 {
				ev.ID = fmt.Sprintf("%s-%d", by, number)
			}
			if by == "socket.io" && number%4 == 0 {
				ev.Bytes = "AAEC+v//" // not the URL alphabet
				m.binary++
			}
			events = append(events, ev)
		}
		m.sent[by] = append(m.sent[by], events...)
		if by == byHTTP {
			m.wait.Go(func() { m.publishHTTP(events) })
			continue
		}
		line, err := json.Marshal(map[string]any{"by": by, "events": events})
		if err == nil {
			_, err = m.node.stdin.Write(append(line, '\n'))
		}
		if err != nil {
			m.t.Fatal(err)
		}
	}
}

// publishHTTP publishes as a backend does.
func (m *meeting) publishHTTP(events []published) {
	for _, ev := range events {
		line := meetingLine{By: byHTTP, Number: ev.Number}
		body, err := json.Marshal(map[string]any{"event": ev.Event, "data": ev.Data, "id": ev.ID})
		if err == nil {
			err = m.post(body, &line.Position)
		}
		if err != nil {
			m.t.Error(err)
			return
		}
		m.said <- line
	}
}

func (m *meeting) post(body []byte, answer any) error {
	req, err := http.NewRequestWithContext(m.t.Context(), "POST", m.base+"/api/rooms/"+url.PathEscape(meetingRoom)+"/events", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+meetingKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New("publish: " + resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}

// until takes what is said until a condition holds.
func (m *meeting) until(what string, holds func() bool) {
	m.t.Helper()
	late := time.After(patience)
	for !holds() {
		var line meetingLine
		select {
		case line = <-m.said:
		case text, ok := <-m.node.lines:
			if !ok {
				<-m.node.done
				m.t.Fatalf("node ended:\n%s", m.node.errs.String())
			}
			if err := json.Unmarshal(text, &line); err != nil {
				m.t.Fatalf("%s: %v", text, err)
			}
		case <-late:
			m.t.Fatalf("waited for: %s. %v joined, %d acknowledged; heard: %s", what, slices.Collect(maps.Keys(m.joined)), len(m.acked), m.counts())
		}
		m.take(line)
	}
}

func (m *meeting) take(line meetingLine) {
	m.t.Helper()
	switch {
	case line.Lost != "":
		m.t.Fatalf("%s lost its place: %s", line.Member, line.Lost)
	case line.By != "":
		m.acked[line.Position] = m.canonical(m.expected(line))
	case line.Joined:
		m.joined[line.Member] = true
	default:
		m.heard[line.Member] = append(m.heard[line.Member], m.canonical(line.Event))
		m.buffers[line.Member] += line.Buffers
	}
}

// expected is the event that an acknowledgement is about, as /ws shows it.
func (m *meeting) expected(ack meetingLine) map[string]any {
	ev := m.sent[ack.By][ack.Number]
	var data any = ev.Data
	if ev.Bytes != "" {
		data = map[string]any{"png": map[string]any{"$base64": ev.Bytes}, "of": ev.Data}
	}
	event := map[string]any{"room": meetingRoom, "event": ev.Event, "data": data, "epoch": ack.Position.Epoch, "offset": ack.Position.Offset}
	if ev.ID != "" {
		event["id"] = ev.ID
	}
	if ack.By != byHTTP {
		event["from"] = ack.By
	}
	// As if it had been read, so that numbers look alike.
	event, err := parseEvent([]byte(m.canonical(event)))
	if err != nil {
		m.t.Fatal(err)
	}
	return event
}

func (m *meeting) acknowledged() bool {
	sent := 0
	for _, events := range m.sent {
		sent += len(events)
	}
	return len(m.acked) == sent
}

// settle waits until everybody heard everything, and compares. What came twice
// came before the last event of all.
func (m *meeting) settle() {
	m.t.Helper()
	m.until("what was published is acknowledged", m.acknowledged)
	m.publish(1)
	all := func() bool {
		for kind := range m.valves {
			if len(m.heard[kind]) < len(m.acked) {
				return false
			}
		}
		return m.acknowledged()
	}
	m.until("everybody heard everything", all)

	places := slices.SortedFunc(maps.Keys(m.acked), func(a, b holdfast.Position) int { return cmp.Compare(a.Offset, b.Offset) })
	var order []string
	for i, place := range places {
		order = append(order, m.acked[place])
		if place.Epoch != places[0].Epoch || place.Offset != uint64(i+1) {
			m.t.Fatalf("event %d of the room is at %v", i+1, place)
		}
	}
	for kind := range m.valves {
		if diff := gocmp.Diff(order, m.heard[kind]); diff != "" {
			m.t.Errorf("%s did not hear what was acknowledged (-) but (+):\n%s", kind, diff)
		}
		want := 0
		if strings.HasPrefix(kind, "socket.io") || kind == kindGo {
			want = m.binary
		}
		if m.buffers[kind] != want {
			m.t.Errorf("%s heard bytes as bytes %d times, want %d", kind, m.buffers[kind], want)
		}
	}
}

// counts is how much everybody heard, for people.
func (m *meeting) counts() string {
	var list []string
	for _, kind := range slices.Sorted(maps.Keys(m.valves)) {
		list = append(list, fmt.Sprintf("%s %d", kind, len(m.heard[kind])))
	}
	return strings.Join(list, ", ")
}

// goMember starts the member by our own client.
func (m *meeting) goMember() {
	socket := goClient(m.t, "http://"+m.valves[kindGo].address(), client.Config{
		Source: tokens.Static(meetingToken(m.t, kindGo)), Socket: client.SocketConfig{MinBackoff: 50 * time.Millisecond, MaxBackoff: 200 * time.Millisecond},
	}).Socket()
	connect(m.t, socket)
	_, err := socket.Join(within(m.t), meetingRoom, client.JoinOptions{
		OnEvent: func(_ context.Context, ev *holdfast.Event) {
			line := meetingLine{Member: kindGo, Buffers: len(ev.Attachments)}
			text, err := jsonws.AppendEvent(nil, ev)
			if err == nil {
				line.Event, err = parseEvent(text)
			}
			if err != nil {
				line.Lost = err.Error()
			}
			m.said <- line
		},
		OnReset: func(context.Context, client.Reset) { m.said <- meetingLine{Member: kindGo, Lost: "reset"} },
		OnLeft:  func(_ context.Context, err error) { m.said <- meetingLine{Member: kindGo, Lost: err.Error()} },
	})
	if err != nil {
		m.t.Fatal(err)
	}
	m.said <- meetingLine{Member: kindGo, Joined: true}
}

// curl starts the member that polls with curl, one process a call.
func (m *meeting) curl() {
	if err := exec.Command("curl", "--version").Run(); err != nil {
		m.t.Fatalf("curl can't be run (%v): install it", err)
	}
	poll := poller{address: "http://" + m.valves[kindCurl].address() + "/poll", token: meetingToken(m.t, kindCurl)}
	ctx, cancel := context.WithCancel(context.Background())
	m.wait.Go(func() {
		for cursor := ""; ctx.Err() == nil; {
			page, err := poll.once(ctx, cursor)
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				m.said <- meetingLine{Member: kindCurl, Lost: err.Error()}
				return
			case page == nil: // cut off
				select {
				case <-ctx.Done():
				case <-time.After(50 * time.Millisecond):
				}
				continue
			case cursor == "":
				m.said <- meetingLine{Member: kindCurl, Joined: true}
			case len(page.Reset) > 0:
				m.said <- meetingLine{Member: kindCurl, Lost: "reset"}
			}
			for _, text := range page.Events {
				line := meetingLine{Member: kindCurl}
				if line.Event, err = parseEvent(text); err != nil {
					line.Lost = err.Error()
				}
				m.said <- line
			}
			cursor = page.Cursor
		}
	})
	m.t.Cleanup(func() { cancel(); m.wait.Wait() })
}

type pollPage struct {
	Events []json.RawMessage
	Cursor string
	Reset  []string
}

type poller struct{ address, token string }

// once runs curl. Both results are nil if the server couldn't be reached, or
// the answer not be read to its end.
func (p poller) once(ctx context.Context, cursor string) (*pollPage, error) {
	query := url.Values{"room": {meetingRoom}, "wait": {"10"}}
	if cursor != "" {
		query.Set("since", cursor)
	}
	cmd := exec.CommandContext(ctx, "curl", "--silent", "--show-error", "--fail", "--config", "-")
	cmd.Stdin = strings.NewReader(fmt.Sprintf("url = \"%s?%s\"\nheader = \"Authorization: Bearer %s\"\n", p.address, query.Encode(), p.token))
	out, err := cmd.Output()
	const httpError = 22 // curl's status for answers that are refusals
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		if e.ExitCode() == httpError {
			return nil, errors.New(string(e.Stderr))
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	page := new(pollPage)
	return page, json.Unmarshal(out, page)
}
