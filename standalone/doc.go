// Package standalone is a server and an identity provider in one: the accounts
// of package identity, the connections of package server, and what has to run
// between them. A session that ends closes its sockets, a change of rights
// reaches them at once, and API keys made for the one publish on the other.
//
// It is what "holdfast serve" runs, and can be embedded just as well.
package standalone
