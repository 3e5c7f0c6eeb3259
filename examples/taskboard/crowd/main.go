// Command crowd is people on one board of a task board: each has an account, is
// there, points, types, and makes, moves, edits and deletes cards. It shows
// what a full board is like, and is what the page's smoothness is measured
// with (npm run crowd, in web).
//
// They come by a link for editors. "ready" is printed when all are there, and
// at the end what they have done, as a line of JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"
)

func main() {
	c := crowd{out: os.Stdout, log: slog.Default()}
	flag.StringVar(&c.url, "url", "http://localhost:8080", "where the task board is")
	flag.StringVar(&c.link, "link", "", "the token of a link for editors")
	flag.IntVar(&c.people, "people", 100, "how many there are")
	flag.DurationVar(&c.lasts, "for", 2*time.Minute, "for how long, from when all are there")
	flag.DurationVar(&c.points, "points", 500*time.Millisecond, "between two movements of a pointer")
	flag.DurationVar(&c.writes, "writes", 5*time.Second, "between two writes of one of them, more or less")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := c.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "crowd:", err)
		os.Exit(1)
	}
}

// crowd is one run of the program.
type crowd struct {
	url, link      string
	people         int
	lasts          time.Duration
	points, writes time.Duration
	out            io.Writer
	log            *slog.Logger
}

// report is what was done by all together. Times are of acks, in milliseconds.
type report struct {
	People   int     `json:"people"`
	Writes   int     `json:"writes"`
	Signals  int     `json:"signals"`
	Typing   int     `json:"typing"`
	Events   int     `json:"events"` // that all of them received
	Refusals int     `json:"refusals"`
	Median   float64 `json:"ackMedian"`
	Slow     float64 `json:"ackP95"`
}

// run lets them all in, and then be active for as long as it lasts.
func (c *crowd) run(ctx context.Context) error {
	if c.link == "" || c.people < 1 {
		return errors.New("there must be a link, and somebody to follow it")
	}
	all := make([]*person, c.people)
	errs := make([]error, c.people)
	door := make(chan struct{}, 8) // passwords are hashed, which takes a while: not all come at once
	var coming sync.WaitGroup
	for i := range all {
		coming.Go(func() {
			door <- struct{}{}
			defer func() { <-door }()
			all[i], errs[i] = c.enter(ctx, i)
		})
	}
	coming.Wait()
	defer func() {
		for _, p := range all {
			if p != nil {
				p.leave()
			}
		}
	}()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	fmt.Fprintln(c.out, "ready")
	ctx, stop := context.WithTimeout(ctx, c.lasts)
	defer stop()
	var active sync.WaitGroup
	for _, p := range all {
		active.Go(func() { p.points(ctx, c.points) })
		active.Go(func() { p.writes(ctx, c.writes) })
	}
	active.Wait()
	return json.NewEncoder(c.out).Encode(sum(all))
}

func sum(all []*person) report {
	r := report{People: len(all)}
	var acks []time.Duration
	for _, p := range all {
		r.Writes += len(p.acks)
		r.Signals += p.signals
		r.Typing += p.typed
		r.Refusals += p.refusals
		r.Events += int(p.events.Load())
		acks = append(acks, p.acks...)
	}
	if len(acks) > 0 {
		slices.Sort(acks)
		at := func(part float64) float64 {
			return float64(acks[int(part*float64(len(acks)-1))].Microseconds()) / 1000
		}
		r.Median, r.Slow = at(0.5), at(0.95)
	}
	return r
}
