package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/jsonscan"
)

// Bounds of an answer to a question.
const (
	maxDecision        = 1 << 20 // bytes; changed data is in it
	maxDecisionDepth   = 34      // data may have 32
	maxDecisionMessage = 200     // bytes of the message that is shown
)

// decision is what a target answers to a question, with status 200.
type decision struct {
	Allow   *bool         `json:"allow"`
	Code    holdfast.Code `json:"code"`
	Message string        `json:"message"`
	// RetryAfter is in seconds, for RATE_LIMITED.
	RetryAfter int `json:"retryAfter"`
	// Data replaces that of the event, if it is there. null is as good as
	// absent: many backends write it for what they do not set.
	Data json.RawMessage `json:"data"`
}

// refusals are the codes that a target may refuse with. None of them ends a
// connection, or makes a client refresh or sign out.
func refusals() []holdfast.Code {
	return []holdfast.Code{holdfast.Forbidden, holdfast.NotFound, holdfast.Conflict, holdfast.InvalidArgument, holdfast.RateLimited}
}

// Asks reports whether any target is asked this; where none is, there is no
// need to call.
func (d *Dispatcher) Asks(what Type) bool {
	return slices.ContainsFunc(d.targets, func(t *target) bool { return slices.Contains(t.Decide, what) })
}

// DecideJoin asks whether somebody may join a room; nil if all targets that are
// to be asked agree. A refusal has one of the codes FORBIDDEN, NOT_FOUND,
// CONFLICT, INVALID_ARGUMENT and RATE_LIMITED. Where a target does not answer
// in time or with sense, it is INTERNAL, which clients try again.
func (d *Dispatcher) DecideJoin(ctx context.Context, p Peer, room string) error {
	_, err := d.decide(ctx, TypeJoin, Proposal{Peer: p, Room: room})
	return err
}

// DecidePublish asks whether somebody may publish an event. It returns data
// that shall replace that of the event, attachments included; nil for none.
// Its errors are those of DecideJoin, and INVALID_ARGUMENT for attachments that
// don't go with the data. Targets are asked in order, each about what the one
// before it has left.
func (d *Dispatcher) DecidePublish(ctx context.Context, p Peer, ev *holdfast.Event) (json.RawMessage, error) {
	if !d.asked(TypePublish, ev.Room) {
		return nil, nil
	}
	data, err := portable(ev.Data, ev.Attachments)
	if err != nil {
		return nil, err
	}
	return d.decide(ctx, TypePublish, Proposal{Peer: p, Room: ev.Room, Event: ev.Name, Data: data, ID: ev.ID})
}

func (d *Dispatcher) asked(what Type, room string) bool {
	return slices.ContainsFunc(d.targets, func(t *target) bool { return t.decides(what, room) })
}

// decide asks the targets, and returns what they have made of the data; nil
// if it is as it was.
func (d *Dispatcher) decide(ctx context.Context, what Type, p Proposal) (changed json.RawMessage, err error) {
	for _, t := range d.targets {
		if !t.decides(what, p.Room) {
			continue
		}
		answer, err := d.ask(ctx, t, what, p)
		if err != nil {
			return nil, err
		}
		if what == TypePublish && answer.Data != nil && string(answer.Data) != "null" {
			p.Data, changed = answer.Data, answer.Data
		}
	}
	return changed, nil
}

// ask asks one target. The error is what the asker is told.
func (d *Dispatcher) ask(ctx context.Context, t *target, what Type, p Proposal) (decision, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, t.DecideTimeout)
	defer cancel()
	defer context.AfterFunc(d.ctx, cancel)() // Shutdown ends it
	ctx, span := d.tracer.Start(ctx, "holdfast.webhook", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("holdfast.webhook.target", t.label), attribute.String("holdfast.webhook.type", string(what))))
	defer span.End()
	result := Result{Target: t.Name, Type: what}
	answer, status, err := d.question(ctx, t, what, p)
	result.Status, result.Duration = status, time.Since(began)
	switch {
	case err != nil:
		result.Outcome = Undecided
		span.SetStatus(codes.Error, err.Error())
		if !errors.Is(err, errClosedGate) {
			d.log.WarnContext(ctx, "webhook was not answered, and so refused", "target", t.Name, "type", string(what), "err", err)
		}
		// Without its cause, which is logged here, and not for each asker.
		err = &holdfast.Error{Code: holdfast.Internal, Message: "It could not be decided", RetryAfter: time.Second}
	case !*answer.Allow:
		result.Outcome = Denied
		err = answer.refusal(what)
	default:
		result.Outcome = Allowed
	}
	span.SetAttributes(attribute.String("holdfast.webhook.outcome", result.Outcome))
	d.cfg.Observe(result)
	return answer, err
}

// question posts it. Without an error the answer says yes or no.
func (d *Dispatcher) question(ctx context.Context, t *target, what Type, p Proposal) (answer decision, status int, err error) {
	id := newID()
	body, err := encode(id, what, time.Now(), p)
	if err != nil {
		return answer, 0, fmt.Errorf("webhook: %w", err)
	}
	if err := t.gate.enter(ctx); err != nil {
		return answer, 0, err
	}
	a, err := t.caller.post(ctx, id, body, maxDecision)
	if err == nil {
		answer, err = a.decision()
	}
	t.gate.leave(err == nil, errors.Is(ctx.Err(), context.Canceled))
	return answer, a.status, err
}

// decision reads an answer. What is not clearly one is an error.
func (a answer) decision() (d decision, err error) {
	if a.status != 200 {
		return d, fmt.Errorf("webhook: answered %d", a.status)
	}
	if err := jsonscan.Check(a.body, jsonscan.Limits{Depth: maxDecisionDepth, UniqueKeys: true}); err != nil {
		return d, fmt.Errorf("webhook: the answer: %w", err)
	}
	if err := json.Unmarshal(a.body, &d); err != nil {
		return d, errors.New(`webhook: the answer is not of the form {"allow":true}`)
	}
	if d.Allow == nil {
		return d, errors.New(`webhook: the answer has no "allow"`)
	}
	return d, nil
}

// refusal is the error that the asker is told.
func (d decision) refusal(what Type) *holdfast.Error {
	err := &holdfast.Error{Code: d.Code, Message: plain(d.Message)}
	if !slices.Contains(refusals(), d.Code) {
		err.Code = holdfast.Forbidden
	}
	if err.Code == holdfast.RateLimited {
		err.RetryAfter = time.Duration(min(max(d.RetryAfter, 1), 3600)) * time.Second
	}
	if err.Message == "" && err.Code == holdfast.Forbidden {
		err.Message = "Not allowed in this room"
		if what == TypePublish {
			err.Message = "Not allowed to publish this"
		}
	}
	return err
}

// plain is text without control characters, of at most maxDecisionMessage
// bytes.
func plain(text string) string {
	text = strings.ToValidUTF8(text, "")
	text = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, text))
	if len(text) > maxDecisionMessage {
		text = text[:maxDecisionMessage]
		for len(text) > 0 && !utf8.ValidString(text) {
			text = text[:len(text)-1]
		}
	}
	return text
}
