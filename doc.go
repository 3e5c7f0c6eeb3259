// Package holdfast is the vocabulary that the two halves of Holdfast share:
// the codes of refusals, who somebody is (Identity), what he may do
// (Permissions), and where a reader stands in a room (Position, Event).
//
// It depends on the standard library alone, so that clients, servers and
// applications can all import it. The client half starts at package client,
// the server half at package server.
//
// Values of this package are plain data: they are safe to share between
// goroutines as long as nobody changes them.
package holdfast
