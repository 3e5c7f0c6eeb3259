// Package webhook tells applications over HTTP what happens to connections and
// rooms, and asks them what may happen: a backend in any language can follow
// and decide. docs/webhooks.md is for those who write such a backend.
//
// Deliveries follow the Standard Webhooks specification 1.0: a JSON body with
// a type, a timestamp and data, signed with HMAC-SHA-256 over id, time and
// body, so that its libraries can verify them. Verify and Receive do it in Go.
//
// What is to be delivered goes through an Outbox first, and stays there until
// the target has answered 2xx, or MaxAttempts attempts have failed. An Outbox
// in a database outlives the process; package identity has one. Every message
// is delivered at least once, perhaps more than once: its id tells.
package webhook
