// The commands of examples/taskboard/README.md, with a server's address and an
// account filled in. A test compares them with the README, whose test runs them.

/** What commands are made for. */
export interface For {
  /** The server's address, without a slash at its end. */
  url: string;
  email: string;
  /** Stands for the password, which the page does not know. */
  password: string;
}

/** A way to use a board from the terminal. */
export interface Command {
  title: string;
  says: string;
  text: string;
}

/** The commands. Those after the first need `TOKEN` and `BOARD`. */
export function commands({ url, email, password }: For): [Command, ...Command[]] {
  const socket = url.replace(/^http/, "ws");
  return [
    {
      title: "A token",
      says: "Calls with curl carry one. It is short-lived: sign in again when it has ended. With a second factor, add \"totpCode\" to the body.",
      text: `TOKEN=$(curl -s ${url}/api/auth/sign-in -H 'Content-Type: application/json' \\
  -d '{"email":"${email}","password":"${password}"}' |
  sed 's/.*"accessToken":"\\([^"]*\\)".*/\\1/')`,
    },
    {
      title: "Listen with curl",
      says: "Server-Sent Events: plain HTTP, one event a line. Move a card here, and see it there.",
      text: `curl -N "${url}/events?room=board-$BOARD" -H "Authorization: Bearer $TOKEN"`,
    },
    {
      title: "Listen with holdfast",
      says: "The command keeps you signed in: it renews its token for as long as it listens, and comes back by itself.",
      text: `go run ./cmd/holdfast login --email ${email} ${url}
go run ./cmd/holdfast listen ${url} board-$BOARD`,
    },
    {
      title: "Send an event of your own",
      says: "It goes to everybody who has the board open.",
      text: `go run ./cmd/holdfast emit ${url} board-$BOARD wave '{"text":"hello"}'`,
    },
    {
      title: "Put a card on the board",
      says: "Send it twice: the answer is the same, and there is still one card. That is what the Idempotency-Key does.",
      text: `LIST=$(curl -s ${url}/api/boards/$BOARD -H "Authorization: Bearer $TOKEN" |
  sed 's/.*"lists":\\[{"id":"\\([^"]*\\)".*/\\1/')
curl -s ${url}/api/boards/$BOARD/cards -H "Authorization: Bearer $TOKEN" \\
  -H 'Content-Type: application/json' -H 'Idempotency-Key: first-card' \\
  -d '{"list":"'$LIST'","title":"Write it down"}'`,
    },
    {
      title: "A Go program",
      says: "About a hundred lines, in examples/taskboard/client. It shows the board, and goes on showing it as it changes.",
      text: `echo '${password}' |
  go run ./examples/taskboard/client -url ${url} sign-in ${email}
go run ./examples/taskboard/client -url ${url} show $BOARD`,
    },
    {
      title: "A plain WebSocket",
      says: "One JSON object a message, for whatever language you like. Here in Node 20 or newer.",
      text: `TOKEN=$TOKEN BOARD=$BOARD node --experimental-websocket -e '
  const ws = new WebSocket("${socket}/ws")
  const say = (message) => ws.send(JSON.stringify(message))
  ws.onopen = () => say({ type: "auth", token: process.env.TOKEN })
  ws.onmessage = ({ data }) => {
    console.log(data)
    if (JSON.parse(data).type === "authenticated") say({ type: "join", room: "board-" + process.env.BOARD, ref: 1 })
  }'`,
    },
  ];
}
