// One server for all: it answers each client's handshake with as little as the
// protocol asks for, and then sends frames that were made beforehand, so that
// no client waits longer for its server than another.
import { createServer } from "node:http";
import { WebSocketServer } from "ws";
import { encoders, epoch, room } from "./events.mjs";

const answers = {
  // Engine.IO 4 and Socket.IO 5, with what a Holdfast server says beside it. Too
  // short a run for a ping.
  socketio(send, text, joined) {
    if (text === undefined) send(`0${JSON.stringify({ sid: "s", upgrades: [], pingInterval: 300_000, pingTimeout: 60_000, maxPayload: 1e6 })}`);
    else if (text.startsWith("40")) {
      send('40{"sid":"c"}');
      const session = { user: { id: "u1" }, connection: "c", expiresAt: Date.now() + 900_000, expiresIn: 900, features: ["refresh", "id", "since"] };
      send(`42${JSON.stringify(["auth:session", session])}`);
    } else {
      const ask = /^42(\d+)\["room:join"/.exec(text);
      if (!ask) return;
      send(`43${ask[1]}${JSON.stringify([{ ok: true, data: { room, epoch, offset: 0 } }])}`);
      joined();
    }
  },
  // Centrifugo's protocol as JSON: commands, and replies to them, one a line.
  centrifuge(send, text, joined) {
    if (text === undefined) return;
    for (const line of text.split("\n")) {
      const { id, connect, subscribe } = JSON.parse(line);
      if (connect) send(JSON.stringify({ id, connect: { client: "c", version: "0" } }));
      if (!subscribe) continue;
      send(JSON.stringify({ id, subscribe: { recoverable: true, positioned: true, epoch, offset: 0 } }));
      joined();
    }
  },
};

/** Starts it. `files` is what it serves over HTTP: a path's content type and contents. */
export async function startServer(files, count) {
  const frames = Object.fromEntries(
    Object.entries(encoders).map(([name, encode]) => [name, Array.from({ length: count }, (_, n) => Buffer.from(encode(n)))]),
  );
  const http = createServer((req, res) => {
    const file = files[new URL(req.url, "http://localhost").pathname];
    if (!file) return res.writeHead(404).end();
    res.writeHead(200, { "Content-Type": file.type, "Cache-Control": "no-store" }).end(file.contents);
  });
  const sockets = new WebSocketServer({ server: http, perMessageDeflate: false });
  let member; // the connection that has joined last
  sockets.on("connection", (ws, req) => {
    const protocol = req.url.startsWith("/socket.io/") ? "socketio" : "centrifuge";
    const joined = () => (member = { ws, frames: frames[protocol] });
    req.socket.setNoDelay(true);
    ws.on("message", (message) => answers[protocol]((text) => ws.send(text), String(message), joined));
    ws.on("error", () => {});
    answers[protocol]((text) => ws.send(text), undefined, joined);
  });
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));

  const write = ({ ws, frames }, from, to) => {
    const { _socket: tcp } = ws;
    tcp?.cork();
    for (let n = from; n < to; n++) ws.send(frames[n], { binary: false, compress: false });
    tcp?.uncork();
  };

  /** Sends events `from` to `to` - 1: at once, or so many a second. */
  const send = (from, to, rate) => {
    const to_ = member;
    if (!rate) return write(to_, from, to);
    const began = performance.now();
    let sent = from;
    const timer = setInterval(() => {
      const due = Math.min(to, from + Math.floor(((performance.now() - began) / 1000) * rate));
      write(to_, sent, due);
      sent = due;
      if (sent === to) clearInterval(timer);
    }, 1);
  };

  return {
    url: `http://127.0.0.1:${http.address().port}`,
    send,
    async close() {
      for (const ws of sockets.clients) ws.terminate();
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}
