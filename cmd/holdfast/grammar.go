package main

import "github.com/alecthomas/kong"

// grammar is the command line. A flag tagged secret is never shown, and its
// value never quoted in an error.
type grammar struct {
	Config string `placeholder:"FILE" help:"Read flags that are given neither here nor as a variable from this JSON file."`

	Serve   serveCmd        `cmd:"" help:"Run the server."`
	Token   tokenCmds       `cmd:"" help:"Make tokens and look into them."`
	Listen  listenCmd       `cmd:"" help:"Join rooms and print their events, one JSON object a line."`
	Emit    emitCmd         `cmd:"" help:"Publish one event to a room."`
	Queue   queueCmds       `cmd:"" help:"Look at and send what \"emit --queue\" has kept."`
	Login   loginCmd        `cmd:"" help:"Sign in to a server with accounts; \"listen\" and \"emit\" use the session then."`
	Logout  logoutCmd       `cmd:"" help:"End that session."`
	Whoami  whoamiCmd       `cmd:"" help:"Ask the server whose session it is."`
	User    userCmds        `cmd:"" help:"Make, change and list accounts."`
	Session sessionCmds     `cmd:"" help:"List and end login sessions."`
	Key     keyCmds         `cmd:"" help:"Make, list and revoke API keys of backends."`
	Keys    signingKeysCmds `cmd:"" help:"List and rotate the keys that sign tokens."`
	Conf    configCmds      `cmd:"" name:"config" help:"Look at the configuration."`
	Bench   benchCmd        `cmd:"" help:"Load a Socket.IO server, check what it answers, and print what that costs it."`
	Version versionCmd      `cmd:"" help:"Print the version."`
}

type tokenCmds struct {
	Get     tokenGetCmd `cmd:"" help:"Print the access token of the session of \"holdfast login\", renewed if need be."`
	Mint    mintCmd     `cmd:"" help:"Make a signed token."`
	Inspect inspectCmd  `cmd:"" help:"Show what is in a token, without verifying it."`
	Verify  verifyCmd   `cmd:"" help:"Check a token as the server would, and show whose it is."`
}

type configCmds struct {
	Check checkCmd `cmd:"" help:"Show what \"serve\" would run with, where each value comes from, and what is wrong."`
}

func flagGroups() []kong.Group {
	return []kong.Group{
		{Key: "listen", Title: "Addresses:"},
		{Key: "keys", Title: "Whose tokens are good:"},
		{Key: "accounts", Title: "Accounts:"},
		{Key: "webhooks", Title: "Webhooks:"},
		{Key: "access", Title: "Who may do what:"},
		{Key: "web", Title: "Browsers and proxies:"},
		{Key: "timing", Title: "Timing and sizes:"},
		{Key: "log", Title: "Logs:"},
		{Key: "claims", Title: "What it says and grants:"},
		{Key: "client", Title: "Connecting:"},
		{Key: "load", Title: "How much:"},
		{Key: "time", Title: "How long:"},
		{Key: "names", Title: "What the server calls things:"},
		{Key: "output", Title: "What is measured and written:"},
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
    3  not signed in: the token, session or password is missing, bad or expired
    4  not allowed: the room, the action or the origin
    5  the server can't be reached, or says to come back later
  130  interrupted`

// Help implements kong.HelpProvider.
func (serveCmd) Help() string {
	return `One of --dev, --accounts, --jwt-secret-file (or --jwt-secret), --jwks-url and --introspection-url is needed.

To try it. It keeps accounts in ./holdfast-data, and a signing secret of its own, so that "holdfast token mint" in the same folder makes tokens for it:

    holdfast serve --dev

With accounts, which "holdfast user add" makes. They are in a file in --data, or in PostgreSQL, and can stand beside tokens from elsewhere:

    holdfast serve --addr 0.0.0.0:8080 --accounts --public-url https://rt.example.com

With the secret that your backend signs its tokens with. A token that names no rooms gets --default-rooms, which has no default here:

    holdfast serve --addr 0.0.0.0:8080 --jwt-secret-file /run/secrets/jwt --default-rooms 'board-*,lobby'

With the public keys of an identity provider:

    holdfast serve --jwks-url https://login.example.com/.well-known/jwks.json --issuer https://login.example.com/ --audience board --default-rooms '**'

With the sessions of Better Auth. POST /api/realtime/token makes a token of its cookie, signed with the secret; connections may come with the cookie itself:

    holdfast serve --better-auth-url https://app.example.com --jwt-secret-file /run/secrets/jwt --default-rooms lobby

With tokens that an OAuth 2.0 server has to be asked about:

    holdfast serve --introspection-url https://id.example.com/oauth2/introspect --introspection-client-id realtime --introspection-client-secret-file /run/secrets/introspection --default-rooms lobby

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
    holdfast listen --exec './notify --quiet' http://127.0.0.1:8080 board-7
    holdfast listen --exec "sh -c 'jq .data | tee -a log'" http://127.0.0.1:8080 board-7

Each line is {"room","event","data","epoch","offset","id"?,"from"?}. Notes about the connection are on stderr. Once connected it stays up: over cuts, restarts of the server, expired tokens and sleep, and prints what was missed. --token-file is read again at each connection and renewal, so that whoever writes it can keep it fresh. Without a token, the session of "holdfast login" counts.

--exec runs a program for each event instead of printing it, one at a time and in order; events wait meanwhile. The line is on its stdin; HOLDFAST_EVENT is the event's name, and HOLDFAST_EVENT_ROOM, _EPOCH, _OFFSET, _ID and _FROM are there too. The command is split at spaces, with '…', "…" and \ to quote, and nothing else in it has a meaning: for pipes and variables run a shell, as above. Nothing of an event ever becomes part of the command. One that fails is noted, and counted at the end; with --exec-stop it ends the listener, whose exit code is 1. At the end, one that is running is told to end (SIGTERM), and killed 5 s later.

The exit code is 0 after --count events, or at Ctrl-C or SIGTERM if there is no --count; with one that was not reached it is 130. A token that can't be renewed ends it with 3, a lost room with 4.`
}

// Help implements kong.HelpProvider.
func (emitCmd) Help() string {
	return `Examples:

    holdfast emit http://127.0.0.1:8080 lobby greeting '{"text":"hello"}'
    holdfast emit --string http://127.0.0.1:8080 lobby greeting 'plain words'
    date +%s | holdfast emit http://127.0.0.1:8080 lobby tick -
    holdfast emit --queue ~/.cache/ticks http://127.0.0.1:8080 lobby tick 1

Waits until the server has the event and prints where in the room's history it stands: {"epoch","offset"}. Needs the right to publish in the room, not to be in it. With --id, publishing the same event again is answered with the same place and changes nothing.

With --queue the event is first written to that folder, and leaves it when the server has it, in its order and once. If the server can't be reached within --timeout, that is noted, nothing is printed, and the exit code is 0: the next "emit --queue" sends it before its own, or "holdfast queue send". What the server refuses for good is set aside; "holdfast queue list" shows it. A folder is for one server, up to 200 events and 1 MiB, and may be used by several programs and users: each sends what is its user's.`
}

// Help implements kong.HelpProvider.
func (queueListCmd) Help() string {
	return `Example:

    holdfast queue list ~/.cache/ticks

Each line is {"id","user","room","event","data","added","refused"?}; "refused" has {"code","message","at"}. The last 100 refused events are kept.`
}

// Help implements kong.HelpProvider.
func (queueSendCmd) Help() string {
	return `Example:

    holdfast queue send ~/.cache/ticks http://127.0.0.1:8080

Sends the events of the user whose token it is. The exit code is 0 when none of them waits any more, and 1 if the server refused some for good.`
}

// Help implements kong.HelpProvider.
func (tokenGetCmd) Help() string {
	return `Examples:

    curl -H "Authorization: Bearer $(holdfast token get)" https://rt.example.com/api/auth/session
    holdfast token get https://rt.example.com

The token is the only thing on stdout. Exit code 3: there is no session, or not any more.`
}

// Help implements kong.HelpProvider.
func (loginCmd) Help() string {
	return `Examples:

    holdfast login https://rt.example.com
    pass show rt | holdfast login --email ann@example.com https://rt.example.com
    holdfast listen https://rt.example.com lobby

The password and, where there is a second factor, its code are asked for at the terminal, which does not show them. If stdin is something else, they are its first lines: the address if there is no --email, the password, the code.

The session is kept in files that only you can read, in the folder holdfast/sessions of your configuration ($XDG_CONFIG_HOME), one for each server. Commands that use it renew its token when that is due: one does, the others see it, and so they do a login or a logout.`
}

// Help implements kong.HelpProvider.
func (logoutCmd) Help() string {
	return `Examples:

    holdfast logout
    holdfast logout https://rt.example.com`
}

// Help implements kong.HelpProvider.
func (whoamiCmd) Help() string {
	return `Examples:

    holdfast whoami
    holdfast whoami https://rt.example.com

Prints the user and the session as JSON. Exit code 3: there is no session, or not any more.`
}

const storeHelp = `

Works on the accounts in --data or --database, whether "holdfast serve" is running on them or not; one that is learns of it within a second.`

// Help implements kong.HelpProvider.
func (userAddCmd) Help() string {
	return `Examples:

    holdfast user add ann@example.com --name Ann --role admin
    pass show ann | holdfast user add ann@example.com --room 'board-*' --action 'todo.*'

The password is asked for at the terminal, or read from stdin's first line. It has at least 8 characters.` + storeHelp
}

// Help implements kong.HelpProvider.
func (userGrantCmd) Help() string {
	return `Examples:

    holdfast user grant ann@example.com --role admin --room 'board-*=join' --room 'board-7'
    holdfast user grant ann@example.com --nothing

What is not named is taken away. Open connections have the new rights at once, and lose the rooms that they may not be in any more.` + storeHelp
}

// Help implements kong.HelpProvider.
func (keyCreateCmd) Help() string {
	return `Examples:

    holdfast key create --scope publish --room 'board-*' --name todo-api
    curl -X POST https://rt.example.com/api/rooms/board-7/events -H "Authorization: Bearer $(cat key)" -H 'Content-Type: application/json' -d '{"event":"ping","data":1}'

The key is the only thing on stdout.` + storeHelp
}

// Help implements kong.HelpProvider.
func (sessionEndCmd) Help() string {
	return `Examples:

    holdfast session end ann@example.com --all
    holdfast session end ann@example.com "$(holdfast session list ann@example.com | head -1 | jq -r .id)"

The connections of the session are closed with SESSION_REVOKED.` + storeHelp
}

// Help implements kong.HelpProvider.
func (benchCmd) Help() string {
	return `Examples, the server first:

    holdfast serve --jwt-secret-file secret --default-rooms '!**' --message-rate 0 --echo
    holdfast bench --jwt-secret-file secret http://127.0.0.1:8080
    holdfast bench --jwt-secret-file secret http://127.0.0.1:8080 fanout --members 5000 --json fanout.json --html fanout.html

Scenarios:

    connect  opens 10,000 connections: time and processor time of an admission, memory of an idle connection
    fanout   one room of 1,000: each message to all of them, 16 in flight
    paced    the same at 50 messages a second; latency counts from when a message should have been sent
    rooms    1,000 rooms of 5, 64 messages in flight over all of them
    echo     200 connections: an event, its ack, the next event
    soak     10 minutes of 100 rooms of 10, while members are cut off and come back

Any Socket.IO server will do (Engine.IO 4, WebSocket): docs/bench.md has one in 15 lines of JavaScript, and says how the numbers are made. Every connection checks order, loss and duplicates. A fault makes the exit code 1; Ctrl-C prints what there is. Needs Linux.`
}

// Help implements kong.HelpProvider.
func (checkCmd) Help() string {
	return `Examples:

    holdfast config check
    holdfast --config /etc/holdfast.json config check

Takes the flags of "holdfast serve". Secrets are shown as [redacted]. Nothing is started or written. The exit code is 2 if "serve" would not start with this.`
}
