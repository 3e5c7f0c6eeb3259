package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/holdfast-dev/holdfast/internal/load"
)

type benchCmd struct {
	Connections int           `placeholder:"N" group:"load" help:"How many, for connect and echo (default 10000, 200)."`
	Rooms       int           `placeholder:"N" group:"load" help:"How many rooms (default 1; rooms: 1000, soak: 100)."`
	Members     int           `placeholder:"N" group:"load" help:"Members of each room (default 1000; rooms: 5, soak: 10)."`
	Publishers  int           `placeholder:"N" group:"load" help:"How many members of a room publish, in turn (default up to 64; soak: 2)."`
	Size        int           `placeholder:"BYTES" group:"load" help:"Length of a message's JSON (default 128)."`
	Window      int           `placeholder:"N" group:"load" help:"Messages in flight at most (default: fanout 16, rooms 64, echo one a connection, at a rate 65,535)."`
	Rate        float64       `placeholder:"N" group:"load" help:"Messages a second, in paced and soak (default 50, 100); for connect, connections a second (default: as fast as they are admitted)."`
	Cuts        float64       `placeholder:"N" group:"load" help:"Members a second that a soak cuts off, and that come back (default 2)."`
	Concurrency int           `placeholder:"N" group:"load" help:"Connections that are opened at once (default 64)."`
	Sources     int           `placeholder:"N" group:"load" help:"Loopback addresses that connections come from (default one for each 500 of them)."`
	ReadEvery   time.Duration `placeholder:"TIME" group:"load" help:"Look at the connections at most this often: cheaper, with latencies that are too long by as much (default 200us; negative for at once)."`
	Seed        uint64        `placeholder:"N" group:"load" help:"Decides what is left to chance (default random; it is in the JSON)."`

	Duration time.Duration `placeholder:"TIME" group:"time" help:"How long is measured (default 10s; soak: 10m)."`
	Messages int           `placeholder:"N" group:"time" help:"Stop measuring after N messages or events."`
	WarmUp   time.Duration `name:"warm-up" default:"2s" placeholder:"TIME" group:"time" help:"What goes before the measuring (default 2s)."`
	Settle   time.Duration `default:"5s" placeholder:"TIME" group:"time" help:"How long connections are idle before their memory is looked at, in connect (default 5s)."`
	Timeout  time.Duration `default:"10s" placeholder:"TIME" group:"time" help:"How long a connection, a join or a message may take (default 10s)."`

	benchTokens

	Namespace    string `default:"/" placeholder:"NAME" group:"names" help:"The namespace of all connections (default /)."`
	JoinEvent    string `default:"room:join" placeholder:"NAME" group:"names" help:"Emitted with {room} to join; must be acknowledged (default room:join)."`
	PublishEvent string `default:"room:publish" placeholder:"NAME" group:"names" help:"Emitted with {room, event, data} to publish; must be acknowledged (default room:publish)."`
	Event        string `name:"published-event" default:"bench" placeholder:"NAME" group:"names" help:"The event that is published (default bench)."`
	EchoEvent    string `default:"echo" placeholder:"NAME" group:"names" help:"An event that is acknowledged with its data (default echo)."`
	RoomPrefix   string `default:"bench-" placeholder:"TEXT" group:"names" help:"What the names of rooms begin with (default bench-)."`

	PID      int    `name:"pid" placeholder:"N" group:"output" help:"The server's process, whose processor time and memory are measured (default: whoever listens on the address, on this machine)."`
	JSON     string `name:"json" placeholder:"FILE" group:"output" help:"Write the results as JSON; - for stdout, without the table."`
	HTML     string `name:"html" placeholder:"FILE" group:"output" help:"Write a report to be opened in a browser, with plots."`
	IOwnHost bool   `name:"i-own-this-host" group:"output" help:"The address is not of this machine, and yours: load is an attack on anybody else's."`
	NoPlot   bool   `name:"no-histogram" group:"output" help:"Leave out the histograms."`

	URL       string   `arg:"" name:"url" help:"The server's address, such as http://127.0.0.1:8080."`
	Scenarios []string `arg:"" optional:"" name:"scenario" help:"connect, fanout, paced, rooms, echo or soak; several run one after the other. Without any: all but soak."`
}

// Run loads a server and prints what was measured.
func (b *benchCmd) Run(e *environment) (err error) {
	scenarios, err := b.scenarios()
	if err != nil {
		return err
	}
	target, err := load.ParseTarget(e.ctx, b.URL, b.IOwnHost)
	if err != nil {
		return benchError(err)
	}
	token, err := b.source(e, b.RoomPrefix)
	if err != nil {
		return err
	}
	var out benchFiles
	defer func() { err = errors.Join(err, out.close()) }()
	if err := out.open(b.JSON, b.HTML); err != nil {
		return err
	}

	report := &load.Report{Began: time.Now().UTC(), Target: b.URL, Machine: load.ThisMachine()}
	line := newProgressLine(e.stderr)
	var failed error
	for _, scenario := range scenarios {
		cfg := b.config(scenario, target)
		cfg.Token = token
		cfg.Progress = func(p load.Progress) { line.show(scenario, p) }
		result, err := load.Run(e.ctx, cfg)
		line.clear()
		if result != nil {
			report.Results = append(report.Results, result)
		}
		if err != nil {
			failed = fmt.Errorf("%s: %w", scenario, benchError(err))
			break
		}
		if result.Interrupted {
			break
		}
	}
	if len(report.Results) > 0 {
		if err := b.print(e, report, &out); err != nil {
			return err
		}
	}
	switch {
	case e.ctx.Err() != nil:
		return errInterrupted
	case failed != nil:
		return failed
	case report.Failed():
		return errors.New("the server made faults, see above")
	}
	return nil
}

// print writes what was measured to where it was asked for.
func (b *benchCmd) print(e *environment, report *load.Report, out *benchFiles) error {
	if out.json != nil {
		w := json.NewEncoder(out.json)
		w.SetIndent("", "  ")
		if err := w.Encode(report); err != nil {
			return fmt.Errorf("can't write %s: %w", b.JSON, reason(err))
		}
	}
	if out.html != nil {
		if err := report.WriteHTML(out.html); err != nil {
			return fmt.Errorf("can't write %s: %w", b.HTML, reason(err))
		}
	}
	if b.JSON == "-" {
		return printJSON(e, report)
	}
	if err := report.WriteTable(e.stdout); err != nil {
		return err
	}
	for _, result := range report.Results {
		if b.NoPlot {
			break
		}
		if err := result.WriteHistogram(e.stdout); err != nil {
			return err
		}
	}
	return nil
}

// scenarios are those that were asked for.
func (b *benchCmd) scenarios() (list []load.Scenario, err error) {
	known := load.Scenarios()
	if len(b.Scenarios) == 0 {
		for _, s := range known {
			if s != load.Soak {
				list = append(list, s)
			}
		}
		return list, nil
	}
next:
	for _, name := range b.Scenarios {
		for _, s := range known {
			if string(s) == name {
				list = append(list, s)
				continue next
			}
		}
		return nil, usagef("scenario %q is none of connect, fanout, paced, rooms, echo and soak", name)
	}
	return list, nil
}

// config is what one scenario is to do.
func (b *benchCmd) config(scenario load.Scenario, target load.Target) load.Config {
	warmup := b.WarmUp
	if warmup == 0 {
		warmup = -1 // asked for
	}
	settle := max(b.Settle, 1) // 0 would be the default
	return load.Config{
		Scenario: scenario, Target: target, Namespace: b.Namespace, RoomPrefix: b.RoomPrefix, PID: b.PID,
		Settings: load.Settings{
			Connections: b.Connections, Rooms: b.Rooms, Members: b.Members, Publishers: b.Publishers, Size: b.Size,
			Window: b.Window, Rate: b.Rate, Cuts: b.Cuts, Concurrency: b.Concurrency, Sources: b.Sources, ReadEvery: b.ReadEvery, Messages: b.Messages,
			Warmup: warmup, Duration: b.Duration, Settle: settle, Timeout: b.Timeout, Seed: b.Seed,
		},
		Names: load.Names{Join: b.JoinEvent, Publish: b.PublishEvent, Event: b.Event, Echo: b.EchoEvent},
	}
}

// benchError sorts the generator's errors into those of this program.
func benchError(err error) error {
	if wrong, ok := errors.AsType[*load.SettingError](err); ok {
		return usageError{err: wrong}
	}
	return err
}

// benchFiles are those that results are written to. They are made before
// anything is measured, which may take long.
type benchFiles struct{ json, html *os.File }

func (f *benchFiles) open(jsonPath, htmlPath string) error {
	for _, one := range []struct {
		path string
		to   **os.File
	}{{jsonPath, &f.json}, {htmlPath, &f.html}} {
		if one.path == "" || one.path == "-" {
			continue
		}
		file, err := os.Create(one.path)
		if err != nil {
			return fmt.Errorf("can't write %s: %w", one.path, reason(err))
		}
		*one.to = file
	}
	return nil
}

func (f *benchFiles) close() (err error) {
	for _, file := range []*os.File{f.json, f.html} {
		if file != nil {
			err = errors.Join(err, file.Close())
		}
	}
	return err
}

// progressLine is a line that changes while the program works: on a terminal in
// its place, elsewhere a new one for each phase.
type progressLine struct {
	w        io.Writer
	terminal bool
	phase    string
}

func newProgressLine(w io.Writer) *progressLine {
	file, ok := w.(*os.File)
	return &progressLine{w: w, terminal: ok && term.IsTerminal(int(file.Fd()))}
}

func (l *progressLine) show(scenario load.Scenario, p load.Progress) {
	if !l.terminal {
		if phase := string(scenario) + ": " + p.Phase; phase != l.phase {
			l.phase = phase
			fmt.Fprintf(l.w, "holdfast: %s\n", phase)
		}
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s %3.0f %%, %d connections", scenario, p.Phase, 100*min(1, p.Done), p.Open)
	if p.Point.Span > 0 {
		fmt.Fprintf(&b, ", %.0f/s, p99 %v, server %.2f cores", float64(p.Point.Count)/p.Point.Span.Seconds(), p.Point.P99.Round(time.Microsecond), p.Point.ServerCPU)
	}
	if p.Faults > 0 {
		fmt.Fprintf(&b, ", %d FAULTS", p.Faults)
	}
	if p.Left > 0 {
		fmt.Fprintf(&b, ", %v left", p.Left.Round(time.Second))
	}
	fmt.Fprintf(l.w, "\r\x1b[K%s", b.String())
}

// clear makes room for other lines.
func (l *progressLine) clear() {
	if l.terminal {
		fmt.Fprint(l.w, "\r\x1b[K")
	}
}
