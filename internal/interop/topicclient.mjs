// Drives /ws/topic with the npm packages @hyper-fetch/sockets, unmodified, and
// ws. The Go test calls it as: node topicclient.mjs SCENARIO '{"url","tokens"}'
// It prints JSON lines: what the test is to do next, and "done" at the end. An
// assertion that fails ends it with status 1 and the reason on stderr.
import assert from "node:assert/strict";
import WebSocket from "ws";

// hyper-fetch is made for browsers: these two are all that it needs of one.
globalThis.WebSocket = WebSocket;
globalThis.window = globalThis;
globalThis.addEventListener ??= () => {};
globalThis.removeEventListener ??= () => {};
const { Socket } = await import("@hyper-fetch/sockets");

const [scenario, input] = process.argv.slice(2);
const { url, tokens } = JSON.parse(input);
const say = (line) => console.log(JSON.stringify(line));
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));

// inbox listens to topics of a socket and hands out what comes, in order.
function inbox(socket, ...topics) {
  const box = { items: [], waiting: [] };
  for (const topic of topics) {
    socket.createListener()({ topic }).listen(({ data, extra }) => {
      const item = { topic, data, frame: JSON.parse(extra.data) };
      box.waiting.length ? box.waiting.shift()(item) : box.items.push(item);
    });
  }
  box.next = () => (box.items.length ? Promise.resolve(box.items.shift()) : new Promise((resolve) => box.waiting.push(resolve)));
  return box;
}

const emit = (socket, topic, payload) => socket.createEmitter()({ topic }).setPayload(payload).emit();

function dial(token, adapterOptions = {}) {
  const socket = new Socket({ url, queryParams: { token }, reconnectTime: 20_000, adapterOptions: { autoConnect: false, ...adapterOptions } });
  socket.lost = 0;
  socket.onDisconnected(() => socket.lost++);
  return socket;
}

const scenarios = {
  async rooms() {
    const socket = dial(tokens.alice);
    const box = inbox(socket, "authenticated", "ok", "error", "card:moved", "doubled");
    await socket.connect();
    const hello = await box.next();
    assert.equal(hello.topic, "authenticated");
    assert.equal(hello.data.user.id, "alice");
    assert.ok(hello.data.expiresIn > 3500);

    emit(socket, "join", { room: "board-7", ref: 1 });
    const joined = await box.next();
    assert.equal(joined.topic, "ok");
    assert.equal(joined.data.room, "board-7");
    assert.equal(joined.frame.ref, 1);
    say("publish");
    for (const card of [1, 2, 3]) {
      const moved = await box.next();
      assert.equal(moved.topic, "card:moved");
      assert.deepEqual(moved.data, { card, text: "x".repeat(card * 1000) });
      assert.equal(moved.frame.meta.room, "board-7");
      assert.equal(moved.frame.meta.offset, joined.data.offset + card);
    }

    emit(socket, "double", 21); // the handler speaks by a topic of its own
    assert.deepEqual((await box.next()).data, 42);
    emit(socket, "publish", { room: "board-7", event: "card:moved", data: { card: 4 } });
    assert.equal((await box.next()).frame.meta.from, "alice");
    emit(socket, "join", { room: "secret" });
    assert.deepEqual((await box.next()).data, { error: "Not allowed in this room", code: "FORBIDDEN", topic: "join" });
    emit(socket, "nobody:home", undefined);
    assert.equal((await box.next()).data.code, "NOT_FOUND");
    assert.equal(socket.lost, 0);
    await socket.disconnect();
  },

  async heartbeat() {
    const socket = dial(tokens.alice, { heartbeat: true, pingTimeout: 50, pongTimeout: 5000 });
    const box = inbox(socket, "heartbeat");
    await socket.connect();
    for (let i = 0; i < 5; i++) assert.equal((await box.next()).data, "heartbeat");
    assert.equal(socket.lost, 0);
    await socket.disconnect();
  },

  // What setAuth was before version 7: other query parameters, and a reconnect.
  async auth() {
    const socket = dial(tokens.alice);
    const box = inbox(socket, "authenticated", "error");
    await socket.connect();
    assert.equal((await box.next()).data.user.id, "alice");
    socket.setQueryParams({ token: tokens.bob });
    await socket.reconnect();
    assert.equal((await box.next()).data.user.id, "bob");
    socket.setQueryParams({ token: tokens.expired });
    await socket.reconnect();
    assert.deepEqual((await box.next()).data, { error: "Unauthorized: token expired", code: "TOKEN_EXPIRED" });
    assert.equal(socket.lost >= 2, true);
    await socket.disconnect();
  },

  // permessage-deflate with ws, which compresses with a context of its own
  // unless it is asked not to.
  async deflate() {
    for (const options of [true, { threshold: 0 }, { clientNoContextTakeover: true, serverNoContextTakeover: true }, { clientMaxWindowBits: 10 }, false]) {
      const ws = new WebSocket(`${url}?token=${tokens.alice}`, { perMessageDeflate: options });
      const messages = [];
      const closed = new Promise((resolve) => ws.on("close", (code) => resolve(code)));
      let wake = () => {};
      ws.on("message", (data) => { messages.push(JSON.parse(data)); wake(); });
      const next = async () => {
        while (!messages.length) await new Promise((resolve) => (wake = resolve));
        return messages.shift();
      };
      assert.equal((await next()).topic, "authenticated");
      assert.equal(ws.extensions, options ? "permessage-deflate" : "");
      for (let ref = 1; ref <= 50; ref++) {
        const data = "grüße ".repeat(ref * 100);
        ws.send(JSON.stringify({ topic: "echo", data, ref }));
        assert.deepEqual(await next(), { topic: "ok", data, ref });
      }
      ws.send(JSON.stringify({ topic: "echo", data: "x".repeat(1_500_000) }));
      assert.equal(await closed, 1009);
    }
  },
};

await scenarios[scenario]();
say("done");
