// Package sse is the codec of Server-Sent Events, as the WHATWG HTML standard
// has them (§9.2): lines of an event stream from what is to be said, and the
// other way round. It does no I/O but through the io.Reader it is given.
package sse
