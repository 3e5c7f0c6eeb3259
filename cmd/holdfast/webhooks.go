package main

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"

	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/webhook"
)

// webhookFlags say who else is told what happens, and asked what may happen.
type webhookFlags struct {
	Webhook             []string `placeholder:"URL" group:"webhooks" help:"Tell this address what happens to connections and rooms: https, or http on this machine. Repeatable."`
	WebhookSecret       []string `secret:"" placeholder:"SECRET|@FILE" group:"webhooks" help:"Sign what is told with this secret, whsec_ and base64; @FILE reads it. Repeatable, to change it: the receiver may know any of them."`
	WebhookEvents       []string `placeholder:"EVENT" group:"webhooks" help:"What is told, comma-separated: connected, disconnected, joined, left, published (default all; none with --webhook-decide)."`
	WebhookRooms        []string `placeholder:"PATTERN" group:"webhooks" help:"The rooms that it is about, comma-separated patterns (default all)."`
	WebhookDecide       []string `placeholder:"WHAT" group:"webhooks" help:"Ask as well, and wait for the answer, what users may do, comma-separated: join, publish."`
	WebhookAllowNetwork []string `placeholder:"CIDR" group:"webhooks" help:"A network that is not public where webhooks may go all the same, such as 10.0.0.0/8. Repeatable."`
}

// webhooks is the configuration of what the flags say, tried out so that
// complaints come at once. Nobody is told anything yet.
func (f *webhookFlags) webhooks() (cfg webhook.Config, err error) {
	var wrong problems
	for _, text := range f.WebhookAllowNetwork {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			wrong.add(usagef("webhook-allow-network %q must be a network, such as 10.0.0.0/8", text))
			continue
		}
		cfg.AllowedNetworks = append(cfg.AllowedNetworks, network.Masked())
	}
	var secrets []auth.Secret
	for _, given := range f.WebhookSecret {
		secret := auth.Secret(given)
		if path, ok := strings.CutPrefix(given, "@"); ok {
			if secret, err = readSecret(path); err != nil {
				wrong.add(usagef("webhook-secret: file %s: %w", path, err))
				continue
			}
		}
		secrets = append(secrets, secret)
	}
	if len(f.Webhook) == 0 {
		if len(f.WebhookSecret)+len(f.WebhookEvents)+len(f.WebhookRooms)+len(f.WebhookDecide)+len(f.WebhookAllowNetwork) > 0 {
			wrong.add(usagef("webhook-secret, webhook-events, webhook-rooms, webhook-decide and webhook-allow-network are of no use without webhook"))
		}
		return webhook.Config{}, wrong.err()
	}
	if len(f.WebhookSecret) == 0 {
		wrong.add(usagef("webhook needs webhook-secret: whoever is told must know who tells it (try: echo %s$(openssl rand -base64 32))", webhook.SecretPrefix))
	}
	if err := wrong.err(); err != nil {
		return cfg, err
	}
	for _, url := range f.Webhook {
		cfg.Targets = append(cfg.Targets, webhook.Target{
			URL: url, Secrets: secrets, Rooms: f.WebhookRooms, Events: types(f.WebhookEvents), Decide: types(f.WebhookDecide),
		})
	}
	trial := cfg
	trial.Logger = slog.New(slog.DiscardHandler)
	d, err := webhook.New(trial)
	if err != nil {
		return cfg, usagef("webhook: %s", strings.TrimPrefix(err.Error(), "webhook: "))
	}
	_ = d.Shutdown(context.Background()) // has nothing to deliver
	return cfg, nil
}

func types(names []string) (list []webhook.Type) {
	for _, name := range names {
		list = append(list, webhook.Type(name))
	}
	return list
}
