package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/tokens"
)

// These are what the program needs of the shapes in ../README.md.
type (
	board struct {
		ID, Room string
	}
	list struct {
		ID string
	}
	card struct {
		ID string
	}
	state struct {
		Lists []list
	}
	change struct {
		Card *card
	}
)

// person is one of the crowd. Its numbers are read when it is done.
type person struct {
	client *client.Client
	room   *client.Room
	board  string
	lists  []list
	cards  []string // of its own
	words  int      // counts what it writes

	signals, typed, refusals int // signals is of points, the others of writes
	acks                     []time.Duration
	events                   atomic.Int64
}

// enter makes an account, follows the link and joins the board's room.
func (c *crowd) enter(ctx context.Context, number int) (p *person, err error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if local := home(c.url, number); local != nil {
		transport.DialContext = (&net.Dialer{LocalAddr: local}).DialContext
	}
	config := client.Config{BaseURL: c.url, Logger: c.log, HTTPClient: &http.Client{Transport: transport}, Timeout: 2 * time.Minute}
	config.Source, err = account(ctx, config, number)
	if err != nil {
		return nil, err
	}
	p = &person{}
	if p.client, err = client.New(config); err != nil {
		return nil, err
	}
	b, err := client.Post[board](ctx, p.client, "/api/links", map[string]string{"token": c.link})
	if err != nil {
		return p, err
	}
	s, err := client.Get[state](ctx, p.client, "/api/boards/"+url.PathEscape(b.ID))
	if err != nil {
		return p, err
	}
	p.board, p.lists = b.ID, s.Lists
	if len(p.lists) == 0 {
		return p, errors.New("the board has no list")
	}
	if err := p.client.Socket().Connect(ctx); err != nil {
		return p, err
	}
	p.room, err = p.client.Socket().Join(ctx, b.Room, client.JoinOptions{
		Presence: map[string]string{"status": "here"},
		OnEvent:  func(context.Context, *holdfast.Event) { p.events.Add(1) },
	})
	return p, err
}

// account makes an account. Its token holds for longer than a crowd lasts.
func account(ctx context.Context, config client.Config, number int) (_ tokens.Source, err error) {
	c, err := client.New(config)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	made, err := client.Post[struct{ AccessToken string }](ctx, c, "/api/auth/sign-up", map[string]string{
		"email": fmt.Sprintf("crowd-%d-%d@example.com", time.Now().UnixNano(), number),
		"name":  name(number), "password": "one of very many",
	})
	return tokens.Static(made.AccessToken), err
}

func (p *person) leave() {
	_ = p.client.Close() // the program ends
}

// home is an address of its own for each of them where the board is on this
// machine, so that they are not taken for one that makes accounts in bulk.
// Elsewhere it is nil.
func home(address string, number int) net.Addr {
	u, err := url.Parse(address)
	if err != nil {
		return nil
	}
	if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback() || ip.To4() == nil) {
		return nil
	}
	local := &net.TCPAddr{IP: net.IPv4(127, 1, byte(number>>8), byte(number))}
	// Not every system has all of the loopback's addresses.
	probe, err := net.ListenTCP("tcp4", local)
	if err != nil {
		return nil
	}
	_ = probe.Close()
	return local
}

func name(number int) string {
	first := []string{"Ada", "Bela", "Cleo", "Dora", "Emil", "Fay", "Gil", "Hana", "Ivo", "June"}
	last := []string{"Abel", "Brook", "Cole", "Dale", "East", "Frost", "Gray", "Hill", "Irving", "Jones"}
	return first[number%10] + " " + last[number/10%10]
}

// pause waits for about as long; false: it is over.
func pause(ctx context.Context, about time.Duration) bool {
	timer := time.NewTimer(time.Duration(float64(about) * (0.5 + rand.Float64())))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// points moves the pointer from place to place.
func (p *person) points(ctx context.Context, every time.Duration) {
	x, y := rand.Float64(), rand.Float64()
	toX, toY := x, y
	for pause(ctx, every) {
		if math.Hypot(toX-x, toY-y) < 0.02 {
			toX, toY = rand.Float64(), rand.Float64()
		}
		x, y = x+(toX-x)/3, y+(toY-y)/3
		if p.room.Signal(ctx, "cursor", map[string]float64{"x": math.Round(x*1e4) / 1e4, "y": math.Round(y*1e4) / 1e4}, "") == nil {
			p.signals++
		}
	}
}

// writes makes, moves, edits and deletes cards.
func (p *person) writes(ctx context.Context, every time.Duration) {
	for pause(ctx, every) {
		if rand.IntN(2) == 0 && p.room.Typing(ctx) == nil {
			p.typed++
		}
		event, payload := p.next()
		began := time.Now()
		done, err := client.EmitAck[change](ctx, p.client.Socket(), event, payload)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			p.refusals++ // such as that somebody has filled the list
			continue
		}
		p.acks = append(p.acks, time.Since(began))
		if event == "card:create" && done.Card != nil {
			p.cards = append(p.cards, done.Card.ID)
		}
	}
}

// next is what it does next. It has up to three cards.
func (p *person) next() (event string, payload map[string]any) {
	p.words++
	anywhere := p.lists[rand.IntN(len(p.lists))].ID
	if len(p.cards) == 0 || (len(p.cards) < 3 && rand.IntN(4) == 0) {
		return "card:create", map[string]any{"board": p.board, "list": anywhere, "title": fmt.Sprintf("Something to do, no. %d", p.words)}
	}
	chosen := rand.IntN(len(p.cards))
	id := p.cards[chosen]
	switch rand.IntN(8) {
	case 0:
		p.cards = append(p.cards[:chosen], p.cards[chosen+1:]...)
		return "card:delete", map[string]any{"board": p.board, "card": id}
	case 1, 2, 3:
		return "card:move", map[string]any{"board": p.board, "card": id, "list": anywhere}
	case 4:
		return "card:update", map[string]any{"board": p.board, "card": id, "done": rand.IntN(2) == 0}
	default:
		return "card:update", map[string]any{"board": p.board, "card": id, "title": fmt.Sprintf("Something else, no. %d", p.words)}
	}
}
