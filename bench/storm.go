package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/tokens"
)

// stormSizes are the numbers of the run.
type stormSizes struct {
	clients   int
	addresses int // that they come from
	// rates are those of new connections a second that the server is started
	// again with, one after the other.
	rates []int
}

// mostTries is how many tries a client may need since the server listens again.
const mostTries = 3

func sizesOfStorm(quick bool) stormSizes {
	if quick {
		return stormSizes{clients: 50, addresses: 5, rates: []int{5000, 10}}
	}
	return stormSizes{clients: 10_000, addresses: 200, rates: []int{5000, 1000}}
}

// Times of the storm.
const (
	stormTimeout = 3 * time.Minute        // until everybody is back, at most
	stormAfter   = 250 * time.Millisecond // the server's processor time has this in it, too
	stormDialers = 64                     // connections that are opened at once, the first time
)

// storm is a crowd of Go clients, each with a token of its own.
type storm struct {
	clients    []*client.Client
	sockets    []*client.Socket
	transports []*http.Transport
	watching   sync.WaitGroup

	mu    sync.Mutex
	tries []int         // of each client since the server was killed
	since []int         // of each client since it listens again
	back  []time.Time   // when each was connected again; zero: not yet
	left  int           // that are not back
	all   chan struct{} // closed when none is left
	cut   bool          // the server was killed
	open  bool          // and listens again
}

// returned is one round's outcome.
type returned struct {
	rate          int           // of new connections that the server allowed
	took          time.Duration // from the restarted server's first line to the last admission
	peak          int           // admissions in the busiest second, by the server's clock
	heard         int           // and as the clients hear of them
	tries, since  []int         // sorted
	server, crowd time.Duration // processor time
}

// storm connects the clients, kills the server, starts it again and waits until
// everybody is back, round by round.
func (s *sitting) storm(ctx context.Context) (string, error) {
	size := sizesOfStorm(s.options.quick)
	s.began = time.Now().UTC()
	var rounds []returned
	for i := range s.options.rounds * len(size.rates) {
		rate := size.rates[i%len(size.rates)]
		m := &measured{server: ours, key: fmt.Sprintf("storm, %d/s", rate), round: i/len(size.rates) + 1, load: loadAverage()}
		s.runs = append(s.runs, m)
		before, from := machineBusy(), time.Now()
		r, used, err := s.stage.oneStorm(ctx, size, rate)
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if before > 0 {
			m.others = max(0, (machineBusy()-before-used).Seconds()/time.Since(from).Seconds())
		}
		if err == nil && r.since[len(r.since)-1] > mostTries {
			err = fmt.Errorf("a client needed %d tries", r.since[len(r.since)-1])
		}
		if err != nil {
			m.failure = err.Error()
		}
		rounds = append(rounds, r)
		fmt.Fprintf(s.stage.progress, "round %d  %s  load %s others %.1f  all back after %v %s\n", m.round, m.key, m.load, m.others, r.took.Round(time.Millisecond), m.failure)
	}
	s.ended = time.Now().UTC()
	return s.stormSection(size, rounds), nil
}

// oneStorm also returns all processor time that was used, of every process.
func (s *stage) oneStorm(ctx context.Context, size stormSizes, rate int) (r returned, used time.Duration, err error) {
	r.rate = rate
	crowdFrom := ownTime()
	defer func() { used += ownTime() - crowdFrom }()
	server, err := s.start(ctx, peers()[0])
	if err != nil {
		return r, 0, err
	}
	crowd, err := s.gather(ctx, server.url, size)
	if err != nil {
		return r, server.stop(), err
	}
	defer crowd.close()
	crowd.begin()
	from := ownTime()
	used += server.stop()
	if server, err = s.startAt(ctx, strings.TrimPrefix(server.url, "http://"), []string{"--log-level", "debug", "--admission-rate", strconv.Itoa(rate)}); err != nil {
		return r, used, err
	}
	listens := crowd.reopen()
	err = crowd.wait(ctx)
	r.server = server.stop()
	r.crowd = ownTime() - from
	used += r.server
	var admitted []time.Time
	if err == nil {
		admitted, err = admissions(server.log)
	}
	if err == nil {
		r.peak = busiest(admitted)
		r.took, r.heard = crowd.sum(listens)
		r.tries, r.since = slices.Sorted(slices.Values(crowd.tries)), slices.Sorted(slices.Values(crowd.since))
	}
	return r, used, err
}

// gather makes the clients and waits until all are connected.
func (s *stage) gather(ctx context.Context, url string, size stormSizes) (st *storm, err error) {
	st = &storm{tries: make([]int, size.clients), since: make([]int, size.clients), back: make([]time.Time, size.clients), all: make(chan struct{})}
	defer func() {
		if err != nil {
			st.close()
		}
	}()
	for i := range size.addresses {
		dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 78, byte(1+i))}}
		st.transports = append(st.transports, &http.Transport{DialContext: dialer.DialContext})
	}
	for i := range size.clients {
		token, err := s.token(fmt.Sprintf("bench-%d", i))
		if err != nil {
			return st, err
		}
		c, err := client.New(client.Config{
			BaseURL: url, Source: tokens.Static(token), HTTPClient: &http.Client{Transport: st.transports[i%size.addresses]},
			Socket: client.SocketConfig{Transports: []string{client.WebSocket}}, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			return st, err
		}
		socket := c.Socket()
		st.clients, st.sockets = append(st.clients, c), append(st.sockets, socket)
		changes, _ := socket.Changes(16) // closed with the socket
		st.watching.Go(func() { st.watch(i, changes) })
	}
	return st, st.connect(ctx)
}

// connect connects all clients, a few at once.
func (st *storm) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stormTimeout)
	defer cancel()
	next := make(chan *client.Socket)
	failed := make([]error, stormDialers)
	var dialers sync.WaitGroup
	for i := range failed {
		dialers.Go(func() {
			for socket := range next {
				failed[i] = errors.Join(failed[i], socket.Connect(ctx))
			}
		})
	}
	for _, socket := range st.sockets {
		next <- socket
	}
	close(next)
	dialers.Wait()
	return errors.Join(failed...)
}

// begin counts tries from here on.
func (st *storm) begin() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.cut, st.left = true, len(st.clients)
}

// reopen counts tries apart from here on, and returns when that is.
func (st *storm) reopen() time.Time {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.open = true
	return time.Now()
}

// watch counts a client's tries until it is back. It ends with the client.
func (st *storm) watch(i int, changes <-chan client.Change) {
	for change := range changes {
		st.mu.Lock()
		switch {
		case !st.cut || !st.back[i].IsZero():
		case change.State == client.Connecting:
			st.tries[i]++
			if st.open {
				st.since[i]++
			}
		case change.State == client.Connected && st.tries[i] > 0:
			st.back[i] = time.Now()
			if st.left--; st.left == 0 {
				close(st.all)
			}
		}
		st.mu.Unlock()
	}
}

// wait waits until everybody is back, and a little for what the server does
// after that.
func (st *storm) wait(ctx context.Context) error {
	late := time.NewTimer(stormTimeout)
	defer late.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-st.all:
	case <-late.C:
		st.mu.Lock()
		defer st.mu.Unlock()
		return fmt.Errorf("%d of %d clients were not back after %v", st.left, len(st.clients), stormTimeout)
	}
	rest := time.NewTimer(stormAfter)
	defer rest.Stop()
	select {
	case <-ctx.Done():
	case <-rest.C:
	}
	return ctx.Err()
}

// sum is what was seen, when everybody is back.
func (st *storm) sum(listens time.Time) (took time.Duration, peak int) {
	st.mu.Lock()
	defer st.mu.Unlock()
	return slices.MaxFunc(st.back, time.Time.Compare).Sub(listens), busiest(st.back)
}

// close ends all clients.
func (st *storm) close() {
	for _, c := range st.clients {
		_ = c.Close() // that its server is gone
	}
	for _, t := range st.transports {
		t.CloseIdleConnections()
	}
	st.watching.Wait()
}

// ownTime is the processor time that this process has used; 0 if that is not
// known.
func ownTime() time.Duration {
	data, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:])) // what is before may have spaces
	const user, system = 11, 12
	if len(fields) <= system {
		return 0
	}
	ticks := 0
	for _, field := range fields[user : system+1] {
		n, _ := strconv.Atoi(field) // the system writes numbers
		ticks += n
	}
	return time.Duration(ticks) * tick
}

// stormSection is the text of the section.
func (s *sitting) stormSection(size stormSizes, rounds []returned) string {
	var b strings.Builder
	s.writeHead(&b, stormTitle)
	fmt.Fprintf(&b, "\nHoldfast %s. %d Go clients in this command's process, each with a user, a token and the default backoff, from %d addresses, are connected; "+
		"the server is killed and started again at once. The server's processor time is that of its whole second life, start included, until %v after the last was back.\n\n",
		s.stage.built[ours], size.clients, size.addresses, stormAfter)
	b.WriteString("The rate is what `--admission-rate` allows, with a burst of twice as many: three times as many new connections in any second. The first is the default. Who is over it is told when to come back (503, Retry-After). ")
	b.WriteString("Admissions are counted by the server's clock, in its log at the level debug; clients that are kept busy hear of more at once. More than three tries since the server listens again are a failure.\n\n")
	b.WriteString("| round | rate | load | others | all are back after | in the busiest second, admissions by the server's clock; as clients hear of them | tries a client: p50, p99, max, and since the server listens: max | server, ms a client | clients, ms each |\n|---|---|---|---|---|---|---|---|---|\n")
	for i, m := range s.runs {
		r := rounds[i]
		if m.failure != "" {
			fmt.Fprintf(&b, "| %d | %d/s | %s | %.1f | FAILED: %s | – | – | – | – |\n", m.round, r.rate, m.load, m.others, m.failure)
			continue
		}
		last := len(r.tries) - 1
		each := func(d time.Duration) string { return digits(d.Seconds() * 1e3 / float64(size.clients)) }
		fmt.Fprintf(&b, "| %d | %d/s | %s | %.1f | %.2f s | %d; %d | %d, %d, %d; %d | %s | %s |\n", m.round, r.rate, m.load, m.others, r.took.Seconds(), r.peak, r.heard,
			r.tries[last/2], r.tries[last*99/100], r.tries[last], r.since[last], each(r.server), each(r.crowd))
	}
	return b.String()
}
