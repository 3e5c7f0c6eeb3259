package standalone

import (
	"context"
	"errors"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/server"
	"github.com/holdfast-dev/holdfast/webhook"
)

// openWebhooks starts telling targets, if there are any. Where there are
// accounts, what is to be told waits in their database.
func (s *Standalone) openWebhooks(cfg Config) (err error) {
	hooks := cfg.Webhooks
	if len(hooks.Targets) == 0 {
		return nil
	}
	if hooks.Logger == nil {
		hooks.Logger = cfg.Logger
	}
	if hooks.TracerProvider == nil {
		hooks.TracerProvider = cfg.TracerProvider
	}
	if hooks.Outbox == nil && s.accounts != nil {
		hooks.Outbox = s.accounts.Outbox()
	}
	measured := newHookMetrics(cfg.Metrics, hooks.Targets)
	if told := hooks.Observe; measured != nil {
		hooks.Observe = func(r webhook.Result) {
			measured.observe(r)
			if told != nil {
				told(r)
			}
		}
	}
	if s.webhooks, err = webhook.New(hooks); err != nil {
		return err
	}
	if err := measured.register(); err != nil {
		return errors.Join(err, s.webhooks.Shutdown(context.Background())) // nothing was told yet
	}
	s.measured = measured
	if hooks.Outbox == nil {
		s.log.Warn("webhooks wait in memory: those that are not delivered when the process ends are lost; with accounts they wait in the database")
	}
	return nil
}

func (s *Standalone) closeWebhooks(ctx context.Context) error {
	if s.webhooks == nil {
		return nil
	}
	defer s.measured.unregister()
	return s.webhooks.Shutdown(ctx)
}

// hookUp has the server tell and ask the webhooks' targets.
func (s *Standalone) hookUp() {
	d := s.webhooks
	if d == nil {
		return
	}
	// What can't be stored is logged by the dispatcher.
	var o server.Observer
	if d.Tells(webhook.TypeConnected) {
		o.Connected = func(ctx context.Context, c *server.Conn) {
			_ = d.Connected(ctx, webhook.Connection{Peer: peerOf(c, c.Identity())})
		}
	}
	if d.Tells(webhook.TypeDisconnected) {
		o.Disconnected = func(ctx context.Context, c *server.Conn, err error) {
			_ = d.Disconnected(ctx, webhook.Connection{Peer: peerOf(c, c.Identity()), Code: holdfast.CodeOf(err)})
		}
	}
	if d.Tells(webhook.TypeJoined) {
		o.Joined = func(ctx context.Context, j server.Join) {
			_ = d.Joined(ctx, webhook.Membership{Peer: peerOf(j.Conn, j.Identity), Room: j.Room})
		}
	}
	if d.Tells(webhook.TypeLeft) {
		o.Left = func(ctx context.Context, l server.Leave) {
			left := webhook.Membership{Peer: peerOf(l.Conn, l.Conn.Identity()), Room: l.Room}
			if l.Err != nil {
				left.Code = l.Err.Code
			}
			_ = d.Left(ctx, left)
		}
	}
	if d.Tells(webhook.TypePublished) {
		o.Published = func(ctx context.Context, p server.Publish) { _ = d.Published(ctx, p.Event) }
	}
	s.Observe(o)
	if d.Asks(webhook.TypeJoin) {
		s.OnJoin(func(ctx context.Context, j *server.Join) error {
			return d.DecideJoin(ctx, peerOf(j.Conn, j.Identity), j.Room)
		})
	}
	if d.Asks(webhook.TypePublish) {
		s.OnPublish(s.decidePublish)
	}
}

// decidePublish asks about what clients publish. A backend with an API key
// has decided already, and must not wait for itself.
func (s *Standalone) decidePublish(ctx context.Context, p *server.Publish) error {
	if p.Identity == nil {
		return nil
	}
	data, err := s.webhooks.DecidePublish(ctx, peerOf(p.Conn, p.Identity), p.Event)
	if data != nil && err == nil {
		p.Event.Data, p.Event.Attachments = data, nil
	}
	return err
}

// peerOf is who something is about; c is nil for HTTP.
func peerOf(c *server.Conn, id *holdfast.Identity) webhook.Peer {
	p := webhook.NewPeer(id)
	if c == nil {
		return p
	}
	p.Connection, p.Transport = c.ID(), c.Transport()
	if name := c.Namespace(); name != "/" {
		p.Namespace = name
	}
	return p
}
