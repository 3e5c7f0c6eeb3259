package server

import (
	"strconv"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/internal/jsonscan"
	"github.com/holdfast-dev/holdfast/internal/transport"
)

// roomEncoder encodes a room's events for the members that joined in one
// namespace; all of them share the result.
type roomEncoder struct{ namespace string }

// Encode makes ["event", data, meta] of an event.
func (e roomEncoder) Encode(ev *holdfast.Event) *hub.Frame {
	const space = transport.HeaderSpace
	text := make([]byte, space, space+len(ev.Data)+len(ev.Name)+len(ev.Room)+len(ev.ID)+len(ev.From)+len(e.namespace)+128)
	if n := len(ev.Attachments); n > 0 {
		text = append(text, '4', '5')
		text = strconv.AppendInt(text, int64(n), 10)
		text = append(text, '-')
	} else {
		text = append(text, '4', '2')
	}
	if e.namespace != "/" {
		text = append(text, e.namespace...)
		text = append(text, ',')
	}
	text = append(text, '[')
	text = jsonscan.AppendString(text, ev.Name)
	text = append(text, ',')
	if len(ev.Data) == 0 {
		text = append(text, "null"...)
	} else {
		text = append(text, ev.Data...)
	}
	text = append(text, `,{"room":`...)
	text = jsonscan.AppendString(text, ev.Room)
	text = append(text, `,"epoch":`...)
	text = jsonscan.AppendString(text, ev.Position.Epoch)
	text = append(text, `,"offset":`...)
	text = strconv.AppendUint(text, ev.Position.Offset, 10)
	if ev.ID != "" {
		text = append(text, `,"id":`...)
		text = jsonscan.AppendString(text, ev.ID)
	}
	if ev.From != "" {
		text = append(text, `,"from":`...)
		text = jsonscan.AppendString(text, ev.From)
	}
	text = append(text, '}', ']')
	return transport.FrameIn(text, ev.Attachments...)
}
