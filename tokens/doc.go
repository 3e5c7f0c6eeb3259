// Package tokens keeps a client signed in: it owns the life of a token, from the
// sign-in over each refresh to the end of the session.
//
// A [Source] has one method, Token, with a context first. Package client asks
// its Source before each request and at each connection attempt; [Transport]
// gives the same to any http.Client. The forms of a Source:
//
//   - [Static], a fixed text; [Text] and [Func], functions that know the token;
//   - [Manager], which keeps a session, renews it ahead of its end and when the
//     server has refused it, and tells what happens by Events. How it is renewed
//     is Config.Refresh, any [RefreshFunc]; [Endpoint] makes one for a server.
//
// A Source that can get another token in place of a refused one is a
// [Refresher]; [Renew] handles a refusal with either kind.
//
// A Manager keeps the session in a [Store]: [Memory], a [File], or the operating
// system's keyring (package tokens/keyring). Managers on one store, in one
// process or in many, refresh once for all of them and know of each other's
// sign-ins and sign-outs.
//
// Only the server ends a session: a refresh that fails because of the network,
// a busy server or a full disk signs nobody out, and is tried again. The package
// has no state of its own; two Managers share what their stores share.
package tokens
