// Package hub carries events between sessions: rooms, one order of events in
// each, bounded history, gap-free joins and fan-out.
//
// A transport opens a [Session] for each admitted peer, giving it a [Sink] to
// send on and an [Encoder] for its protocol. Events are published to a room;
// the [Broker] puts them into the room's one order, and the hub encodes each
// once a protocol and queues it to every member.
//
// The Broker is the part that can span processes; [Memory] is the one within
// this process. docs/design/brokers.md says why the interface is as it is.
package hub
