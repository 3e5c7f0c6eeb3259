// Package socketio reads and writes the packets of the Socket.IO protocol,
// version 5: connects, events, acks and their binary attachments, as they
// stand inside Engine.IO messages. It does no I/O.
//
// A Decoder turns the messages of one connection into Packets; Packet.Event
// and Packet.AckArgs take a packet's arguments apart, and Args.Decode puts
// one into a Go value. NewArgs and Packet.Append go the other way.
//
// # What is refused
//
// JSON is checked once, by the Decoder: grammar, UTF-8, and depth. Everything
// that the protocol forbids is a *holdfast.Error with code ProtocolError, and
// what is over the limit of bytes is MessageTooLarge; after either the
// connection is best closed. Stricter than the reference implementation, the
// Decoder refuses numbers with leading zeros in headers, ack ids above 2^53−1,
// acks without an id, ids on packets that take none, and placeholders which
// are not exactly {"_placeholder":true,"num":N} with each attachment used
// once.
//
// An event name is a string. As in the reference implementation it may also
// be a number, here an integer within ±(2^53−1), and then stands for its
// digits, since JavaScript does not tell the names 1 and "1" apart. Which
// names are reserved is not this package's business: see
// holdfast.CheckPublish.
package socketio
