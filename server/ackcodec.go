package server

import (
	"encoding/binary"
	"encoding/json"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/jsonscan"
	"github.com/holdfast-dev/holdfast/socketio"
)

// What an answer is kept as: one of these bytes, and then
//
//	values  the length of the JSON array of values as a uvarint, the array, and each
//	        attachment as a uvarint of its length and its bytes
//	refused the JSON of an ackError
//	handled nothing: the answer was too long to be kept
//
// Stores keep it over restarts, also into another version of the program.
const (
	ackValues  = 'v'
	ackRefused = 'e'
	ackHandled = 'h'
)

// encodeAck makes an answer's form for keeping. Holdfast's wrapping of it is
// not part of it: each protocol has its own.
func encodeAck(args socketio.Args, err error) []byte {
	var ack []byte
	if err != nil {
		e := holdfast.AsError(err)
		body := ackError{Message: e.PublicMessage(), Code: e.Code, RetryAfter: e.RetryAfterSeconds(), Details: e.Details}
		text, merr := json.Marshal(body)
		if merr != nil { // Details that are no JSON are not sent either
			body.Details = nil
			text = marshal(body)
		}
		ack = append([]byte{ackRefused}, text...)
	} else {
		ack = encodeValues(args)
	}
	if len(ack) > maxKeptAck {
		return []byte{ackHandled}
	}
	return ack
}

func encodeValues(args socketio.Args) []byte {
	array := args.AppendArray(nil)
	size := 1 + binary.MaxVarintLen64 + len(array)
	for _, a := range args.Attachments {
		size += binary.MaxVarintLen64 + len(a)
	}
	if size > 2*maxKeptAck { // it will not be kept; so don't copy it
		return make([]byte, maxKeptAck+1)
	}
	ack := append(make([]byte, 0, size), ackValues)
	ack = append(binary.AppendUvarint(ack, uint64(len(array))), array...)
	for _, a := range args.Attachments {
		ack = append(binary.AppendUvarint(ack, uint64(len(a))), a...)
	}
	return ack
}

// decodeAck makes an answer of what was kept. What it can't read, since a
// later version wrote it, was handled all the same.
func decodeAck(ack []byte) (socketio.Args, error) {
	if len(ack) == 0 {
		return socketio.Args{}, errHandled()
	}
	switch body := ack[1:]; ack[0] {
	case ackValues:
		return decodeValues(body)
	case ackRefused:
		var e ackError
		if err := json.Unmarshal(body, &e); err != nil {
			return socketio.Args{}, errHandled()
		}
		return socketio.Args{}, &holdfast.Error{
			Code: e.Code, Message: e.Message, Details: e.Details, RetryAfter: time.Duration(e.RetryAfter) * time.Second,
		}
	}
	return socketio.Args{}, errHandled()
}

func decodeValues(body []byte) (socketio.Args, error) {
	array, body, ok := cutBytes(body)
	if !ok || jsonscan.Check(array, jsonscan.Limits{Depth: 1 << 20}) != nil {
		return socketio.Args{}, errHandled()
	}
	values, err := jsonscan.Split(array)
	if err != nil {
		return socketio.Args{}, errHandled()
	}
	args := socketio.Args{Values: values}
	for len(body) > 0 {
		var a []byte
		if a, body, ok = cutBytes(body); !ok {
			return socketio.Args{}, errHandled()
		}
		args.Attachments = append(args.Attachments, a)
	}
	return args, nil
}

// cutBytes takes off a length and as many bytes.
func cutBytes(b []byte) (first, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, nil, false
	}
	end := size + int(n)
	return b[size:end:end], b[end:], true
}

// errHandled answers a repeat whose first answer is not there.
func errHandled() error {
	return &holdfast.Error{
		Code: holdfast.Conflict, Message: "This event was handled before, and its answer was too large to be kept",
		Details: json.RawMessage(`{"handled":true}`),
	}
}
