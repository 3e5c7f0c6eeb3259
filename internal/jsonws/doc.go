// Package jsonws is the codec of the plain WebSocket at /ws: one JSON object a
// text message (docs/protocol.md §5). Parse reads what clients send, and the
// Append functions write what servers send. ParseTopic and those with Topic in
// their name do so for the other form of the same messages, at /ws/topic.
//
// Package-wide terms: Append functions append one whole message to dst and
// return the extended slice. Strings may hold anything; what is no UTF-8 in
// them becomes U+FFFD. A json.RawMessage is taken to be valid JSON, and nil
// stands for null. All functions are safe for concurrent use.
package jsonws
