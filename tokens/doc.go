// Package tokens is where a client's access token comes from.
//
// A [Source] has one method, Token, with a context first. Package client asks
// its Source before each request and at each connection attempt, so a Source
// decides alone how a token is kept, renewed and shared. A Source that can
// renew a token which the server has refused implements [Refresher] as well;
// [Renew] is how a refusal is handled with either kind.
package tokens
