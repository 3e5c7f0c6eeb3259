package holdfast_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast"
)

// codeTable is the table of docs/protocol.md §2: code, HTTP status, WebSocket
// close code ("-" for none) and what a client does.
const codeTable = `
UNAUTHENTICATED          | 401 | 4001 | refresh-once
TOKEN_EXPIRED            | 401 | 4002 | refresh
PERMISSION_VERSION_STALE | 401 | 4002 | refresh
SESSION_REVOKED          | 401 | 4001 | signed-out
INVALID_CREDENTIALS      | 400 | -    | stop
REFRESH_REUSED           | 401 | -    | signed-out
CSRF_MISMATCH            | 403 | -    | new-csrf
ORIGIN_NOT_ALLOWED       | 403 | -    | stop
FORBIDDEN                | 403 | 4003 | stop
NOT_FOUND                | 404 | -    | stop
CONFLICT                 | 409 | -    | stop
INVALID_ARGUMENT         | 400 | -    | stop
RATE_LIMITED             | 429 | 4008 | wait
MESSAGE_TOO_LARGE        | 413 | -    | stop
PROTOCOL_ERROR           | 400 | 1002 | stop
SLOW_CONSUMER            | -   | 4009 | reconnect
CONNECTION_LIMIT         | 503 | 4010 | wait
GOING_AWAY               | 503 | 1001 | reconnect
INTERNAL                 | 500 | 1011 | wait
`

func TestCodesEqualTheProtocol(t *testing.T) {
	number := func(n int) string {
		if n == 0 {
			return "-"
		}
		return strconv.Itoa(n)
	}
	lines := strings.Split(strings.TrimSpace(codeTable), "\n")
	codes := holdfast.Codes()
	if len(codes) != len(lines) {
		t.Fatalf("%d codes, want %d", len(codes), len(lines))
	}
	for i, line := range lines {
		want := strings.Split(line, "|")
		for j := range want {
			want[j] = strings.TrimSpace(want[j])
		}
		c := codes[i]
		got := []string{string(c.Code), number(c.HTTP), number(c.Close), string(c.Action)}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("row %d is %v, want %v", i, got, want)
		}
		if c.Code.Info() != c || !c.Code.Known() {
			t.Errorf("%s: Info() = %+v, Known() = %v", c.Code, c.Code.Info(), c.Code.Known())
		}
	}
}

func TestCodesIsACopy(t *testing.T) {
	holdfast.Codes()[0].HTTP = 200
	if holdfast.Codes()[0].HTTP != 401 {
		t.Error("a caller changed the table")
	}
}

func TestUnknownCodeIsTreatedAsInternal(t *testing.T) {
	c := holdfast.Code("FROM_THE_FUTURE")
	info := c.Info()
	if c.Known() || info.Code != c || info.HTTP != 500 || info.Close != 1011 || info.Action != holdfast.ActionWait {
		t.Errorf("Known() = %v, Info() = %+v", c.Known(), info)
	}
}

// Clients refresh their token when they read these words, and only then.
func TestStandardSentences(t *testing.T) {
	for _, info := range holdfast.Codes() {
		e := info.Code.New()
		if e.Code != info.Code || e.Message == "" {
			t.Errorf("%s.New() = %+v", info.Code, e)
		}
		lower := strings.ToLower(e.Message)
		switch info.Code {
		case holdfast.Unauthenticated, holdfast.TokenExpired, holdfast.PermissionVersionStale,
			holdfast.SessionRevoked, holdfast.RefreshReused:
			if !strings.Contains(e.Message, "Unauthorized") {
				t.Errorf("%s: %q lacks Unauthorized", info.Code, e.Message)
			}
		case holdfast.CSRFMismatch: // never sent on a socket
		default:
			for _, word := range []string{"unauthorized", "jwt", "token"} {
				if strings.Contains(lower, word) {
					t.Errorf("%s: %q contains %q", info.Code, e.Message, word)
				}
			}
		}
	}
	if got := holdfast.TokenExpired.New().Message; got != "Unauthorized: token expired" {
		t.Errorf("TOKEN_EXPIRED says %q", got)
	}
}

func TestCodeIsAnError(t *testing.T) {
	var err error = holdfast.Forbidden
	if !errors.Is(err, holdfast.Forbidden) || errors.Is(err, holdfast.NotFound) {
		t.Error("a bare Code does not compare with errors.Is")
	}
	if err.Error() != "holdfast: FORBIDDEN" {
		t.Errorf("Error() = %q", err.Error())
	}
}
