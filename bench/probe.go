package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/holdfast-dev/holdfast/auth"
)

// probe asks a server something again and again, by the clock, and notes how
// long the answers take.
type probe struct {
	ask   func(ctx context.Context) error
	every time.Duration

	mu    sync.Mutex // guards what follows, while run runs
	took  []time.Duration
	fails int
	first error // of those that failed
	asked int
	lasts time.Duration // how long was asked
}

// Times and bounds of a probe.
const (
	askTimeout = 10 * time.Second
	askAtOnce  = 256 // what is due while so many are waited for is not asked
)

// run asks until ctx ends. What is being asked then is not counted.
func (p *probe) run(ctx context.Context) {
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	var asking sync.WaitGroup
	defer asking.Wait()
	places := make(chan struct{}, askAtOnce)
	began := time.Now()
	for {
		select {
		case <-ctx.Done():
			p.lasts = time.Since(began)
			return
		case <-tick.C:
		}
		select {
		case places <- struct{}{}:
			asking.Go(func() { p.once(ctx); <-places })
		default:
			p.note(0, errors.New("not asked: too many are waited for"))
		}
	}
}

// once asks once.
func (p *probe) once(ctx context.Context) {
	one, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	from := time.Now()
	err := p.ask(one)
	if ctx.Err() == nil {
		p.note(time.Since(from), err)
	}
}

func (p *probe) note(took time.Duration, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	if err == nil {
		p.took = append(p.took, took)
		return
	}
	p.fails++
	if p.first == nil {
		p.first = err
	}
}

// percentile is that of the answers' times, 0 to 1.
func (p *probe) percentile(at float64) string {
	if len(p.took) == 0 {
		return "–"
	}
	sorted := slices.Sorted(slices.Values(p.took))
	return millis(float64(sorted[int(at*float64(len(sorted)-1))]))
}

// String is the answers in a cell of a table.
func (p *probe) String() string {
	text := fmt.Sprintf("%.1f/s of %.1f: p50 %s, p99 %s, max %s; %d failed", float64(len(p.took))/p.lasts.Seconds(), float64(p.asked)/p.lasts.Seconds(),
		p.percentile(0.5), p.percentile(0.99), p.percentile(1), p.fails)
	if p.first != nil {
		text += fmt.Sprintf(" (%v)", p.first)
	}
	return text
}

// askPath asks for a path, such as /healthz, which is to answer 200.
func askPath(url, path string) func(context.Context) error {
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+path, nil)
		if err != nil {
			return err
		}
		request.Close = true // a new connection each time, as others' checks have
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			return err
		}
		if answer.StatusCode != http.StatusOK {
			return errors.New(answer.Status)
		}
		return nil
	}
}

// askAdmission connects with the tokens in turn and disconnects when it is
// admitted.
func askAdmission(url string, tokens ...string) func(context.Context) error {
	var next atomic.Uint64
	return func(ctx context.Context) (err error) {
		hello, _ := json.Marshal(map[string]string{"token": tokens[next.Add(1)%uint64(len(tokens))]}) // of text it can't fail
		conn, early, _, err := ws.Dial(ctx, "ws"+strings.TrimPrefix(url, "http")+"/socket.io/?EIO=4&transport=websocket")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, conn.Close()) }()
		if deadline, ok := ctx.Deadline(); ok {
			if err := conn.SetDeadline(deadline); err != nil {
				return err
			}
		}
		defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })() // ends what waits
		var from io.ReadWriter = conn
		if early != nil { // came with the answer to the upgrade
			defer ws.PutReader(early)
			from = struct {
				io.Reader
				io.Writer
			}{early, conn}
		}
		if _, err := wsutil.ReadServerText(from); err != nil { // the handshake
			return err
		}
		if err := wsutil.WriteClientText(conn, append([]byte("40"), hello...)); err != nil {
			return err
		}
		for {
			text, err := wsutil.ReadServerText(from)
			switch {
			case err != nil:
				return err
			case strings.HasPrefix(string(text), "40"):
				return nil
			case strings.HasPrefix(string(text), "44"):
				return fmt.Errorf("refused: %s", text)
			}
		}
	}
}

// token is one that our server takes.
func (s *stage) token(user string) (string, error) {
	secret, err := os.ReadFile(s.secret())
	if err != nil {
		return "", err
	}
	return auth.Mint(auth.SigningKey{Secret: secret}, auth.Claims{User: user, Expires: time.Now().Add(12 * time.Hour)})
}
