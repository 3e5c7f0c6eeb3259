//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/server"
)

func TestRoomPolicyFlag(t *testing.T) {
	f := watchFlags{RoomPolicy: []string{"cursor-*=latest:id", "a=b=drop-oldest", "feed=latest", "x=close", "y=latest:a:b"}}
	got, err := f.policies()
	want := []server.RoomPolicy{
		{Rooms: "cursor-*", Overflow: hub.OverflowLatest, Key: "id"},
		{Rooms: "a=b", Overflow: hub.OverflowDropOldest},
		{Rooms: "feed", Overflow: hub.OverflowLatest},
		{Rooms: "x"},
		{Rooms: "y", Overflow: hub.OverflowLatest, Key: "a:b"},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	for given, want := range map[string]string{
		"cursor-*":         "must be PATTERN=POLICY",
		"a=newest":         "the policy is close",
		"a=":               "the policy is close",
		"a=latest:":        "only latest has a field",
		"a=drop-oldest:id": "only latest has a field",
		"a=Drop-Oldest":    "the policy is close",
	} {
		f := watchFlags{RoomPolicy: []string{given}}
		if err := f.sane(); !errors.As(err, new(usageError)) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), given) {
			t.Errorf("%s: %v, want %q", given, err, want)
		}
	}
}

func TestTracesURL(t *testing.T) {
	for endpoint, want := range map[string]string{
		"http://127.0.0.1:4318":              "http://127.0.0.1:4318/v1/traces",
		"https://otel.example.com/":          "https://otel.example.com/v1/traces",
		"https://otel.example.com/in/traces": "https://otel.example.com/in/traces",
	} {
		if got := tracesURL(endpoint); got != want {
			t.Errorf("%s: %s, want %s", endpoint, got, want)
		}
	}
	f := watchFlags{OTLPEndpoint: "127.0.0.1:4318"}
	if err := f.sane(); err == nil || !strings.Contains(err.Error(), "otlp-endpoint must be an https or http URL") {
		t.Errorf("without a scheme: %v", err)
	}
}

// The spans of a server get to a collector, at the latest at the end.
func TestTracesReachCollector(t *testing.T) {
	bodies := make(chan []byte, 10)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != "POST" || r.URL.Path != tracesPath || r.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("%s %s, %v", r.Method, r.URL, err)
		}
		bodies <- body
	}))
	defer collector.Close()

	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	flags := &serveFlags{watchFlags: watchFlags{OTLPEndpoint: collector.URL}}
	e := &environment{ctx: t.Context(), getenv: func(string) string { return "" }}
	w, err := flags.watch(e, nil, logger)
	if err != nil {
		t.Fatal(err)
	}
	if w.metrics != nil {
		t.Error("metrics that nobody can read")
	}
	cfg := server.Config{Authenticator: auth.Func(nil), Logger: logger}
	w.into(&cfg)
	srv, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := srv.Publish(t.Context(), "room-of-somebody", "e", "a payload"); err != nil {
		t.Fatal(err)
	}
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.close(logger)
	if log.Len() > 0 {
		t.Errorf("logged %s", &log)
	}
	select {
	case body := <-bodies:
		for _, want := range []string{"holdfast.publish", "service.name"} {
			if !bytes.Contains(body, []byte(want)) {
				t.Errorf("%q has no %q", body, want)
			}
		}
		for _, private := range []string{"room-of-somebody", "a payload"} {
			if bytes.Contains(body, []byte(private)) {
				t.Errorf("%q has %q", body, private)
			}
		}
	default:
		t.Error("nothing came")
	}
}

// A collector that does not answer holds the end up for a while and no longer,
// and is complained about.
func TestTracesWithoutCollector(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	var log bytes.Buffer
	flags := &serveFlags{watchFlags: watchFlags{OTLPEndpoint: gone.URL}}
	e := &environment{ctx: t.Context(), getenv: func(string) string { return "" }}
	logger := slog.New(slog.NewTextHandler(&log, nil))
	w, err := flags.watch(e, nil, logger)
	if err != nil {
		t.Fatal(err)
	}
	_, span := w.traces.Tracer("test").Start(context.Background(), "span")
	span.End()
	began := time.Now()
	w.close(logger)
	if took := time.Since(began); took > 6*flushTimeout {
		t.Errorf("it took %v", took)
	}
	if !strings.Contains(log.String(), "level=WARN msg=traces") {
		t.Errorf("logged %q", &log)
	}
}

func TestNoTraces(t *testing.T) {
	e := &environment{ctx: t.Context(), getenv: func(string) string { return "" }}
	w, err := new(serveFlags).watch(e, nil, slog.New(slog.DiscardHandler))
	if err != nil || w != (watch{}) {
		t.Errorf("%+v, %v", w, err)
	}
	var cfg server.Config
	w.into(&cfg)
	if cfg.Metrics != nil || cfg.TracerProvider != nil {
		t.Error("what is off is in the configuration")
	}
	w.close(nil)
}
