// Package holdfasttest is a Holdfast server for tests that can be told to
// misbehave, with an issuer of tokens that anybody can sign in to. It is the
// real server: what goes wrong is done to it from outside, as a network, a
// proxy or an operator would.
//
//	func TestKeepsUp(t *testing.T) {
//		srv := holdfasttest.New(t, holdfasttest.Config{})
//		app := newApp(srv.URL, srv.Client(), srv.SignIn("ann"))
//		srv.Fail(holdfasttest.Refresh, holdfasttest.Failure{Status: 503, Times: 3})
//		…
//	}
//
// By default there is no network: connections stay in memory, so that it
// works within a testing/synctest bubble, where days of expiry and backoff
// pass in no time. With Config.TCP it listens on the loopback interface.
//
// docs/testing.md shows what it is for. Package scenario, below this one, plays
// scenarios from files against it.
package holdfasttest
