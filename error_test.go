package holdfast_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
)

func TestErrorIs(t *testing.T) {
	err := error(holdfast.Errorf(holdfast.Forbidden, "not in %s", "room"))
	wrapped := fmt.Errorf("join: %w", err)
	for _, test := range []struct {
		name   string
		err    error
		target error
		want   bool
	}{
		{"code", err, holdfast.Forbidden, true},
		{"other code", err, holdfast.NotFound, false},
		{"error of the same code", err, holdfast.Forbidden.New(), true},
		{"error of another code", err, holdfast.NotFound.New(), false},
		{"wrapped, code", wrapped, holdfast.Forbidden, true},
		{"wrapped, error", wrapped, holdfast.Forbidden.New(), true},
		{"foreign", err, io.EOF, false},
		{"nil pointer as target", err, (*holdfast.Error)(nil), false},
		{"nil pointer", (*holdfast.Error)(nil), holdfast.Forbidden, false},
		{"cause", &holdfast.Error{Code: holdfast.Internal, Err: io.EOF}, io.EOF, true},
	} {
		if got := errors.Is(test.err, test.target); got != test.want {
			t.Errorf("%s: errors.Is = %v", test.name, got)
		}
	}
}

func TestErrorf(t *testing.T) {
	e := holdfast.Errorf(holdfast.Conflict, "copy %d: %w", 7, io.EOF)
	if e.Code != holdfast.Conflict || e.Message != "copy 7: EOF" || e.Err != io.EOF {
		t.Errorf("one cause: %+v", e)
	}
	e = holdfast.Errorf(holdfast.Conflict, "%w and %w", io.EOF, io.ErrNoProgress)
	if !errors.Is(e, io.EOF) || !errors.Is(e, io.ErrNoProgress) {
		t.Errorf("two causes: %+v", e)
	}
	if e := holdfast.Errorf(holdfast.Conflict, "plain"); e.Err != nil {
		t.Errorf("no cause: %+v", e)
	}
}

func TestErrorString(t *testing.T) {
	for _, test := range []struct {
		err  *holdfast.Error
		want string
	}{
		{nil, "<nil>"},
		{&holdfast.Error{Code: holdfast.Forbidden}, "FORBIDDEN"},
		{&holdfast.Error{Code: holdfast.Forbidden, Message: "No"}, "No (FORBIDDEN)"},
		{&holdfast.Error{Code: holdfast.Forbidden, Message: "No", Err: io.EOF}, "No (FORBIDDEN)"},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("Error() = %q, want %q", got, test.want)
		}
	}
}

func TestPublicMessage(t *testing.T) {
	for _, test := range []struct {
		err  *holdfast.Error
		want string
	}{
		{nil, "Internal error"},
		{&holdfast.Error{Code: holdfast.NotFound}, "Not found"},
		{&holdfast.Error{Code: holdfast.NotFound, Message: "No such board"}, "No such board"},
		{&holdfast.Error{Code: holdfast.Internal, Message: "dial db.internal: refused"}, "Internal error"},
		{&holdfast.Error{Code: "NEWER", Message: "secret"}, "Internal error"},
	} {
		if got := test.err.PublicMessage(); got != test.want {
			t.Errorf("%v: PublicMessage() = %q, want %q", test.err, got, test.want)
		}
	}
}

func TestRetryAfterSeconds(t *testing.T) {
	for after, want := range map[time.Duration]int64{
		-time.Second:                 0,
		0:                            0,
		1:                            1,
		time.Second:                  1,
		time.Second + 1:              2,
		1500 * time.Millisecond:      2,
		time.Duration(math.MaxInt64): int64(math.MaxInt64/time.Second) + 1,
	} {
		e := &holdfast.Error{Code: holdfast.RateLimited, RetryAfter: after}
		if got := e.RetryAfterSeconds(); got != want {
			t.Errorf("%v: %d seconds, want %d", after, got, want)
		}
	}
	if (*holdfast.Error)(nil).RetryAfterSeconds() != 0 {
		t.Error("nil has seconds")
	}
}

func TestAsError(t *testing.T) {
	own := holdfast.Errorf(holdfast.Conflict, "taken")
	var null *holdfast.Error
	canary := errors.New("password=canary")
	for _, test := range []struct {
		name string
		err  error
		code holdfast.Code // "": nil is wanted
		text string
	}{
		{"nil", nil, "", ""},
		{"nil *Error", null, "", ""},
		{"wrapped nil *Error", fmt.Errorf("x: %w", null), holdfast.Internal, "Internal error"},
		{"own", own, holdfast.Conflict, "taken"},
		{"wrapped own", fmt.Errorf("x: %w", own), holdfast.Conflict, "taken"},
		{"joined own", errors.Join(io.EOF, own), holdfast.Conflict, "taken"},
		{"code", holdfast.Forbidden, holdfast.Forbidden, "Not allowed"},
		{"wrapped code", fmt.Errorf("x: %w", holdfast.Forbidden), holdfast.Forbidden, "Not allowed"},
		{"deadline", context.DeadlineExceeded, holdfast.Internal, "The server did not finish in time"},
		{"canceled", fmt.Errorf("x: %w", context.Canceled), holdfast.Internal, "The server did not finish in time"},
		{"foreign", canary, holdfast.Internal, "Internal error"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := holdfast.AsError(test.err)
			if code := holdfast.CodeOf(test.err); code != test.code {
				t.Errorf("CodeOf = %q, want %q", code, test.code)
			}
			if test.code == "" {
				if got != nil {
					t.Errorf("AsError = %v, want nil", got)
				}
				return
			}
			if got == nil || got.Code != test.code || got.Message != test.text {
				t.Fatalf("AsError = %+v, want %s %q", got, test.code, test.text)
			}
			if !errors.Is(got, test.err) && got != own {
				t.Errorf("the cause is lost: %+v", got)
			}
			if strings.Contains(got.Error(), "canary") {
				t.Errorf("the cause is shown: %v", got)
			}
		})
	}
}
