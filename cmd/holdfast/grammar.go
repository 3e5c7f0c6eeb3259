package main

import "github.com/alecthomas/kong"

// grammar is the command line. A flag tagged secret is never shown, and its
// value never quoted in an error.
type grammar struct {
	Config string `placeholder:"FILE" help:"Read flags that are given neither here nor as a variable from this JSON file."`

	Serve   serveCmd   `cmd:"" help:"Run the server."`
	Token   tokenCmds  `cmd:"" help:"Make tokens and look into them."`
	Listen  listenCmd  `cmd:"" help:"Join rooms and print their events, one JSON object a line."`
	Emit    emitCmd    `cmd:"" help:"Publish one event to a room."`
	Conf    configCmds `cmd:"" name:"config" help:"Look at the configuration."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

type tokenCmds struct {
	Mint    mintCmd    `cmd:"" help:"Make a signed token."`
	Inspect inspectCmd `cmd:"" help:"Show what is in a token, without verifying it."`
	Verify  verifyCmd  `cmd:"" help:"Check a token as the server would, and show whose it is."`
}

type configCmds struct {
	Check checkCmd `cmd:"" help:"Show what \"serve\" would run with, where each value comes from, and what is wrong."`
}

func flagGroups() []kong.Group {
	return []kong.Group{
		{Key: "listen", Title: "Addresses:"},
		{Key: "keys", Title: "Whose tokens are good:"},
		{Key: "access", Title: "Who may do what:"},
		{Key: "web", Title: "Browsers and proxies:"},
		{Key: "timing", Title: "Timing and sizes:"},
		{Key: "log", Title: "Logs:"},
		{Key: "claims", Title: "What the token says:"},
		{Key: "client", Title: "Connecting:"},
	}
}

const appHelp = `Holdfast keeps realtime connections signed in: a Socket.IO server for rooms, and its tools.

Try it, in three terminals:
  holdfast serve --dev
  holdfast listen --token "$(holdfast token mint --sub alice)" http://127.0.0.1:8080 lobby
  holdfast emit --token "$(holdfast token mint --sub bob)" http://127.0.0.1:8080 lobby greeting '{"text":"hello"}'

Every flag is also a variable and a key of the config file: --jwt-secret-file is
HOLDFAST_JWT_SECRET_FILE and "jwt_secret_file". The command line wins over the variable, the
variable over the file, the file over the default. An empty variable counts as unset. Repeatable
flags take commas in a variable and a list in the file:
  {"addr": "0.0.0.0:8080", "allowed_origin": ["https://app.example.com"]}

Exit codes:
    0  done
    1  failed for another reason
    2  wrong flags, arguments or configuration
    3  the token is missing, bad or expired
    4  not allowed: the room, the action or the origin
    5  the server can't be reached, or says to come back later
  130  interrupted`

// Help implements kong.HelpProvider.
func (serveCmd) Help() string {
	return `One of --dev, --jwt-secret-file (or --jwt-secret) and --jwks-url is needed.

To try it. It keeps a signing secret of its own in ./holdfast-data, so that "holdfast token mint" in the same folder makes tokens for it:

    holdfast serve --dev

With the secret that your backend signs its tokens with. A token that names no rooms gets --default-rooms, which has no default here:

    holdfast serve --addr 0.0.0.0:8080 --jwt-secret-file /run/secrets/jwt --default-rooms 'board-*,lobby'

With the public keys of an identity provider:

    holdfast serve --jwks-url https://login.example.com/.well-known/jwks.json --issuer https://login.example.com/ --audience board --default-rooms '**'

Whoever is on the machine can read command lines: give secrets as files or variables. If there is no key otherwise, JWT_SECRET and then TEST_JWT_SECRET are looked at; so are JWT_ISSUER and JWT_AUDIENCE.

The first line on stdout is "listening on URL", with the real port where --addr asks for port 0. The log is on stderr. SIGTERM or Ctrl-C drains: no new connections, clients are told GOING_AWAY and closed, and the exit code is 0. A second signal ends it at once.

"holdfast config check" with the same flags shows what they add up to.`
}

// Help implements kong.HelpProvider.
func (mintCmd) Help() string {
	return `For "holdfast serve --dev" running in the same folder:

    holdfast token mint --sub alice
    export HOLDFAST_TOKEN=$(holdfast token mint --sub alice --name Alice)

With rooms, actions and other claims. A room pattern grants everything in the room, or the verbs after its "=":

    holdfast token mint --sub alice --room 'board-*=join' --room 'board-7=join,publish,presence' --action 'todo.*'
    holdfast token mint --sub svc --ttl 5m --claim 'tenant="acme"' --claim 'level=3'

For a server with a secret of yours:

    holdfast token mint --sub alice --jwt-secret-file /run/secrets/jwt

The token is the only thing on stdout. --out writes it to a file that only you can read.`
}

// Help implements kong.HelpProvider.
func (inspectCmd) Help() string {
	return `Examples:

    holdfast token inspect eyJhbGciOi...
    holdfast token mint --sub alice | holdfast token inspect
    holdfast token inspect --token-file alice.token

Nothing is verified: anybody can write such a token. "holdfast token verify" checks it.`
}

// Help implements kong.HelpProvider.
func (verifyCmd) Help() string {
	return `Examples:

    holdfast token mint --sub alice | holdfast token verify
    holdfast token verify --jwks-url https://login.example.com/.well-known/jwks.json eyJhbGciOi...

Prints the identity as JSON. A token that the server would refuse ends with its code on stderr and exit code 3.`
}

// Help implements kong.HelpProvider.
func (listenCmd) Help() string {
	return `Examples:

    holdfast listen http://127.0.0.1:8080 lobby
    holdfast listen --count 1 http://127.0.0.1:8080 board-7 board-8
    holdfast listen --since k3Jx9a:41 http://127.0.0.1:8080 board-7

Each line is {"room","event","data","epoch","offset","id"?,"from"?}. Notes about the connection are on stderr. It comes back by itself after a cut, and prints what was missed. --token-file is read again at each connection and renewal, so that whoever writes it can keep it fresh.

The exit code is 0 after --count events, or at Ctrl-C or SIGTERM if there is no --count; with one that was not reached it is 130. A token that can't be renewed ends it with 3, a lost room with 4.`
}

// Help implements kong.HelpProvider.
func (emitCmd) Help() string {
	return `Examples:

    holdfast emit http://127.0.0.1:8080 lobby greeting '{"text":"hello"}'
    holdfast emit --string http://127.0.0.1:8080 lobby greeting 'plain words'
    date +%s | holdfast emit http://127.0.0.1:8080 lobby tick -

Waits until the server has the event and prints where in the room's history it stands: {"epoch","offset"}. Needs the right to publish in the room, not to be in it. With --id, publishing the same event again is answered with the same place and changes nothing.`
}

// Help implements kong.HelpProvider.
func (checkCmd) Help() string {
	return `Examples:

    holdfast config check
    holdfast --config /etc/holdfast.json config check

Takes the flags of "holdfast serve". Secrets are shown as [redacted]. Nothing is started or written. The exit code is 2 if "serve" would not start with this.`
}
