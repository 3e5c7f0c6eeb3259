// Package soak holds no code: its test keeps many clients signed in for a long
// time, at a server whose tokens last seconds, through restarts and cuts, and
// looks for what goes wrong slowly: sign-outs, events lost or doubled,
// goroutines and memory that grow. See docs/design/checking.md.
package soak
