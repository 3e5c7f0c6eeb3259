package server

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/internal/guard"
	"github.com/holdfast-dev/holdfast/internal/httpjson"
	"github.com/holdfast-dev/holdfast/internal/jsonws"
)

// Limits of polling.
const (
	maxWait     = 30 * time.Second // that a call is held
	defaultWait = 25 * time.Second
	pollEvents  = 256     // of one answer; the rest comes with the next
	pollBytes   = 1 << 20 // likewise, unless one event alone is larger
	pollWrite   = 30 * time.Second
)

// pollHTTP is GET /poll?room=…&since=CURSOR&wait=SECONDS. No call depends on
// the one before it: any node can answer it.
func (s *Server) pollHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "private, no-cache")
	h.Set("Vary", "Authorization, Cookie, Origin")
	if !s.onlyGET(w, r) {
		return
	}
	// A server's timeouts are about requests that are answered at once.
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{})
	_ = control.SetWriteDeadline(time.Time{})
	a, err := s.poll(r)
	_ = control.SetWriteDeadline(time.Now().Add(pollWrite)) // the server lifts it after the request
	if err != nil {
		if r.Context().Err() == nil { // somebody is there to be told
			s.answer(w, r, nil, err)
		}
		return
	}
	body := a.append(nil)
	if a.wait == 0 {
		sum := sha256.Sum256(body)
		tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
		h.Set("ETag", tag)
		if matches(r.Header["If-None-Match"], tag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	httpjson.WriteEncoded(w, http.StatusOK, body)
}

// matches reports whether tag is in a list of entity tags (RFC 9110 §13.1.2).
func matches(lists []string, tag string) bool {
	for _, list := range lists {
		for item := range strings.SplitSeq(list, ",") {
			item = strings.TrimSpace(item)
			if item == "*" || strings.TrimPrefix(item, "W/") == tag {
				return true
			}
		}
	}
	return false
}

// poll makes the answer to a call, which may take up to maxWait.
func (s *Server) poll(r *http.Request) (*pollAnswer, error) {
	if err := s.checkPoll(r); err != nil {
		return nil, err
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, holdfast.Errorf(holdfast.InvalidArgument, "the query can't be read")
	}
	rooms, err := s.roomsOf(query)
	if err != nil {
		return nil, err
	}
	wait, err := parseWait(query)
	if err != nil {
		return nil, err
	}
	var marks map[roomKey]mark
	if since := query.Get("since"); since != "" {
		if marks, err = parseCursor(since); err != nil {
			return nil, err
		}
	}
	identity, err := s.identifyListener(r)
	if err != nil {
		return nil, err
	}
	if err := s.mayPoll(r.Context(), identity, rooms); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	places, err := s.places(ctx, rooms, marks)
	if err != nil {
		return nil, err
	}
	a := newPollAnswer(places, wait)
	if err := s.catchUp(ctx, a); err != nil {
		return nil, err
	}
	if wait == 0 || a.due() {
		return a, nil
	}
	return a, s.hold(r.Context(), identity, a)
}

// mayPoll reports why identity can't hear what is said in the rooms. Where the
// application is asked about each of them, a user has no more calls under way
// than polls that wait, and they do not last: it may ask somebody else in turn.
func (s *Server) mayPoll(ctx context.Context, identity *holdfast.Identity, rooms []string) error {
	if len(s.hooks.load().join) > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, readTimeout)
		defer cancel()
		leave, err := s.asking.enter(identity, func(error) { cancel() })
		if err != nil {
			return err
		}
		defer leave()
	}
	for _, room := range rooms {
		if err := s.mayJoin(ctx, &Join{Identity: identity, Room: room}); err != nil {
			return err
		}
	}
	return nil
}

// checkPoll looks at a poll before any work is done on it. Polls have a rate of
// their own, so that they don't use up that of connections.
func (s *Server) checkPoll(r *http.Request) error {
	if err := s.origins.Check(r); err != nil {
		return err
	}
	if s.draining.Load() {
		return errDraining()
	}
	if s.pollsPerAddress != nil {
		return s.pollsPerAddress.Allow(guard.Network(s.proxies.ClientIP(r)))
	}
	return nil
}

// parseWait reads how long a call may be held.
func parseWait(query url.Values) (time.Duration, error) {
	text := query.Get("wait")
	if text == "" {
		return defaultWait, nil
	}
	seconds, err := strconv.ParseUint(text, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, holdfast.Errorf(holdfast.InvalidArgument, "wait is a number of seconds")
	}
	return time.Duration(min(seconds, uint64(maxWait/time.Second))) * time.Second, nil
}

// pollAnswer is an answer in the making.
type pollAnswer struct {
	wait   time.Duration
	cursor cursorWriter
	fresh  bool // a room begins here: the client must have the cursor before it waits
	events []*hub.Frame
	bytes  int
	resets []string
}

func newPollAnswer(places []place, wait time.Duration) *pollAnswer {
	a := &pollAnswer{wait: wait}
	a.cursor.places = places
	for _, p := range places {
		a.fresh = a.fresh || p.fresh
		if p.reset {
			a.resets = append(a.resets, p.room)
		}
	}
	return a
}

// due reports whether there is something to be answered at once.
func (a *pollAnswer) due() bool { return a.fresh || len(a.events) > 0 || len(a.resets) > 0 }

// add takes one more frame; false if it does not fit any more.
func (a *pollAnswer) add(f *hub.Frame) bool {
	if len(a.events) > 0 && (len(a.events) >= pollEvents || a.bytes+len(f.Text) > pollBytes) {
		return false
	}
	a.events = append(a.events, f)
	a.bytes += len(f.Text)
	a.cursor.move(f.Event.Room, f.Event.Position)
	return true
}

// append appends {"events":[…],"cursor":"…","reset":["room",…]}.
func (a *pollAnswer) append(dst []byte) []byte {
	a.sortResets()
	dst = append(dst, `{"events":[`...)
	for i, f := range a.events {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, f.Text...)
	}
	dst = append(dst, `],"cursor":"`...)
	dst = append(a.cursor.append(dst), '"')
	if len(a.resets) > 0 {
		dst = append(append(dst, `,"reset":`...), marshal(a.resets)...)
	}
	return append(dst, '}')
}

// pollEncoder encodes a room's events for polls that are held.
type pollEncoder struct{}

func (pollEncoder) Encode(ev *holdfast.Event) *hub.Frame {
	text, err := jsonws.AppendEvent(make([]byte, 0, len(ev.Data)+256), ev)
	if err != nil {
		return nil // attachments that don't fit: no publish path lets them in
	}
	return &hub.Frame{Text: text, Event: ev}
}
