package client

import (
	"context"
	"errors"
	"maps"
	"net/url"

	"github.com/holdfast-dev/holdfast/tokens"
)

// errNewAuth is why a connection ends after SetAuth or SetQuery.
var errNewAuth = errors.New("client: reconnecting with other credentials")

// SetAuth replaces SocketConfig.Auth, for servers that take something other
// than a Source's token. A socket that is connected, or tries to be, connects
// again with it; one that has stopped is not started. nil is the default.
func (s *Socket) SetAuth(auth func(ctx context.Context, t tokens.Token) (any, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if auth == nil {
		auth = tokenAuth
	}
	s.auth = auth
	s.againLocked()
}

// SetQuery replaces SocketConfig.Query, and connects again as SetAuth does.
func (s *Socket) SetQuery(query url.Values) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.query = maps.Clone(query)
	s.againLocked()
}

// againLocked makes the socket connect anew if it is connected, or do it now if
// it waits.
func (s *Socket) againLocked() {
	if s.conn != nil {
		s.conn.hangUp(&localError{errNewAuth}, 1000)
	}
	if s.run != nil {
		select {
		case s.run.hurry <- struct{}{}:
		default:
		}
	}
}
