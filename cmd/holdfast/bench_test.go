package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/internal/load"
)

// TestProgressLine shows how far a run is, on a terminal and elsewhere.
func TestProgressLine(t *testing.T) {
	steps := []load.Progress{
		{Phase: "connecting", Done: 0.255, Open: 51},
		{Phase: "measuring", Done: 0.5, Left: 5 * time.Second, Open: 200},
		{Phase: "measuring", Done: 1.2, Open: 200, Faults: 3, Point: load.Point{Span: 500 * time.Millisecond, Count: 1000, P99: 1234567, ServerCPU: 0.75}},
	}
	show := func(terminal bool) string {
		var out bytes.Buffer
		line := newProgressLine(&out)
		line.terminal = line.terminal || terminal
		for _, p := range steps {
			line.show(load.Echo, p)
		}
		line.clear()
		return out.String()
	}
	if got, want := show(false), "holdfast: echo: connecting\nholdfast: echo: measuring\n"; got != want {
		t.Errorf("elsewhere it is %q, want %q", got, want)
	}
	const home = "\r\x1b[K"
	want := []string{
		"",
		"echo: connecting  26 %, 51 connections",
		"echo: measuring  50 %, 200 connections, 5s left",
		"echo: measuring 100 %, 200 connections, 2000/s, p99 1.235ms, server 0.75 cores, 3 FAULTS",
		"",
	}
	if got := show(true); got != strings.Join(want, home) {
		t.Errorf("on a terminal it is %q", got)
	}
}
