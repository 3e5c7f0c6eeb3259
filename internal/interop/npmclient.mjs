// Drives a Holdfast server with the official socket.io-client. The Go test
// calls it as: node npmclient.mjs SCENARIO TRANSPORTS < {"url","tokens"…}
// An assertion that fails ends it with status 1 and the reason on stderr.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { io } from "socket.io-client";

const [scenario, transports] = [process.argv[2], process.argv[3].split(",")];
const { url, tokens } = JSON.parse(readFileSync(0, "utf8"));
const open = [];

function dial(token, options = {}, namespace = "") {
  const socket = io(url + namespace, { transports, auth: { token }, forceNew: true, reconnection: false, ...options });
  open.push(socket);
  return socket;
}

const once = (emitter, event) => new Promise((resolve) => emitter.once(event, (...args) => resolve(args)));

async function connected(token, options, namespace) {
  const socket = dial(token, options, namespace);
  const session = once(socket, "auth:session");
  await new Promise((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("connect_error", reject);
  });
  [socket.session] = await session;
  return socket;
}

async function ok(socket, event, ...args) {
  const answer = await socket.timeout(10_000).emitWithAck(event, ...args);
  assert.equal(answer.ok, true, `${event}: ${JSON.stringify(answer)}`);
  return answer.data;
}

const scenarios = {
  async connect() {
    const socket = await connected(tokens.alice);
    assert.equal(socket.session.user.id, "alice");
    assert.ok(socket.session.expiresIn > 3500);
    const last = transports.at(-1);
    if (socket.io.engine.transport.name !== last) await once(socket.io.engine, "upgrade");
    assert.equal(socket.io.engine.transport.name, last);
    assert.deepEqual(await ok(socket, "echo", { text: "grüße 🎉", list: [1, null, true] }), { text: "grüße 🎉", list: [1, null, true] });
  },

  async tokens() {
    for (const [name, code, message] of [
      ["wrong", "UNAUTHENTICATED", /Unauthorized/],
      ["expired", "TOKEN_EXPIRED", /^Unauthorized: token expired$/],
      ["missing", "UNAUTHENTICATED", /Unauthorized/],
      ["oversized", "UNAUTHENTICATED", /Unauthorized/],
    ]) {
      const [err] = await once(dial(tokens[name]), "connect_error");
      assert.match(err.message, message, name);
      assert.equal(err.data?.code, code, name);
    }
    // The same manager may try again with a better token.
    let token = tokens.expired;
    const socket = dial(undefined, { auth: (cb) => cb({ token }) });
    await once(socket, "connect_error");
    token = tokens.alice;
    socket.connect();
    await once(socket, "connect");
  },

  async header() {
    const socket = await connected(undefined, { auth: {}, extraHeaders: { Authorization: `Bearer ${tokens.alice}` } });
    assert.equal(socket.session.user.id, "alice");
  },

  async acks() {
    const socket = await connected(tokens.alice);
    socket.on("ask", (a, b, answer) => answer({ sum: a + b }));
    assert.equal(await ok(socket, "ask-me", { a: 2, b: 40 }), 42);
    const refused = await socket.emitWithAck("nobody:home", 1);
    assert.deepEqual(refused, { ok: false, error: { message: refused.error.message, code: "NOT_FOUND" } });
    assert.deepEqual(await new Promise((resolve) => socket.emit("raw", 1, "two", { three: 3 }, (...args) => resolve(args))), [1, "two", { three: 3 }]);
    assert.equal(await ok(socket, "echo"), null); // a missing payload arrives as null
  },

  async binary() {
    const socket = await connected(tokens.alice);
    const bytes = Buffer.from([0, 1, 2, 250, 255]);
    const [back, meta] = await new Promise((resolve) => socket.emit("raw", bytes, { in: [bytes, { deep: bytes }] }, (...args) => resolve(args)));
    assert.deepEqual(back, bytes);
    assert.deepEqual(meta, { in: [bytes, { deep: bytes }] });
    const file = await ok(socket, "upload", { name: "a.bin", body: bytes });
    assert.deepEqual(file, { name: "a.bin", size: 5, body: bytes });
    await ok(socket, "room:join", { room: "files" });
    const heard = once(socket, "file");
    await ok(socket, "room:publish", { room: "files", event: "file", data: { body: bytes } });
    const [data, where] = await heard;
    assert.deepEqual(data, { body: bytes });
    assert.equal(where.room, "files");
    const big = Buffer.alloc(60_000, 7);
    assert.deepEqual((await ok(socket, "upload", { name: "big", body: big })).body, big);
  },

  async namespaces() {
    const manager = await connected(tokens.alice, { forceNew: true });
    const admin = manager.io.socket("/admin", { auth: { token: tokens.alice } });
    open.push(admin);
    const session = once(admin, "auth:session");
    admin.connect();
    assert.equal((await session)[0].connection, manager.session.connection);
    assert.equal(await ok(admin, "where"), "/admin");
    assert.equal(await ok(manager, "where"), "/");
    const [err] = await once(dial(tokens.alice, {}, "/nowhere"), "connect_error");
    assert.equal(err.message, "Invalid namespace");
    admin.disconnect();
    assert.equal(await ok(manager, "where"), "/");
  },

  async rooms() {
    const members = await Promise.all([connected(tokens.alice), connected(tokens.bob)]);
    const logs = members.map((m) => {
      const log = [];
      m.on("n", (data, meta) => log.push([data, meta.offset, meta.from]));
      return log;
    });
    for (const m of members) await ok(m, "room:join", { room: "r" });
    await Promise.all(members.map((m, who) => Promise.all(Array.from({ length: 60 }, (_, i) => ok(m, "room:publish", { room: "r", event: "n", data: who * 1000 + i })))));
    while (logs.some((l) => l.length < 120)) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.deepEqual(logs[0], logs[1]); // one order
    assert.deepEqual(logs[0].map((e) => e[1]), Array.from({ length: 120 }, (_, i) => i + 1));
    const refused = await members[0].emitWithAck("room:join", { room: "secret" });
    assert.equal(refused.error.code, "FORBIDDEN");
  },

  async since() {
    const alice = await connected(tokens.alice);
    const bob = await connected(tokens.bob);
    const { epoch, offset } = await ok(alice, "room:join", { room: "s" });
    for (let i = 0; i < 20; i++) await ok(bob, "room:publish", { room: "s", event: "n", data: i });
    alice.disconnect();
    for (let i = 20; i < 40; i++) await ok(bob, "room:publish", { room: "s", event: "n", data: i });
    const again = await connected(tokens.alice);
    const log = [];
    again.on("n", (data) => log.push(data));
    const joined = await ok(again, "room:join", { room: "s", since: { epoch, offset } });
    assert.equal(joined.recovered, true);
    assert.deepEqual(log, Array.from({ length: 40 }, (_, i) => i)); // all of it came before the ack
    const lost = await ok(bob, "room:join", { room: "s", since: { epoch: "other", offset: 3 } });
    assert.equal(lost.recovered, false);
  },

  // Events keep coming while the transport is changed under them.
  async upgrade() {
    for (let round = 0; round < 10; round++) {
      const socket = await connected(tokens.alice);
      const log = [];
      socket.on("tick", (n) => log.push(n));
      await ok(socket, "ticks", 300);
      while (log.length < 300) await new Promise((resolve) => setTimeout(resolve, 2));
      assert.deepEqual(log, Array.from({ length: 300 }, (_, i) => i));
      if (transports.length > 1 && socket.io.engine.transport.name === "polling") await once(socket.io.engine, "upgrade");
      assert.equal(socket.io.engine.transport.name, transports.at(-1));
      socket.disconnect();
    }
  },

  // At the expiry the server closes so that an official client comes back.
  async expiry() {
    const calls = [tokens.short, tokens.alice];
    const socket = dial(undefined, { auth: (cb) => cb({ token: calls.shift() }), reconnection: true, reconnectionDelay: 10 });
    const closing = once(socket, "auth:closing");
    const expiring = once(socket, "auth:expiring");
    const disconnected = once(socket, "disconnect"); // a polling payload may hold all three
    await once(socket, "connect");
    assert.equal((await expiring)[0].reason, "expiry");
    assert.equal((await closing)[0].code, "TOKEN_EXPIRED");
    const [reason] = await disconnected;
    assert.ok(["transport close", "transport error"].includes(reason), reason);
    const session = once(socket, "auth:session");
    await once(socket, "connect");
    assert.equal((await session)[0].user.id, "alice");
  },

  async refresh() {
    const socket = await connected(tokens.short);
    let closed = false;
    socket.on("disconnect", () => (closed = true));
    const data = await ok(socket, "auth:refresh", { token: tokens.alice });
    assert.ok(data.expiresIn > 3500 && data.expiresAt > Date.now());
    const refused = await socket.emitWithAck("auth:refresh", { token: tokens.bob });
    assert.equal(refused.error.code, "FORBIDDEN");
    await new Promise((resolve) => setTimeout(resolve, 2500)); // past the first token's end and grace
    assert.equal(closed, false);
    assert.equal(await ok(socket, "where"), "/");
  },

  // A drain must leave an official client reconnecting, not stopped.
  async drain() {
    const socket = await connected(tokens.alice, { reconnection: true, reconnectionDelay: 50 });
    const closing = once(socket, "auth:closing");
    const trying = once(socket.io, "reconnect_attempt");
    console.log("connected"); // the Go test now shuts the server down
    assert.equal((await closing)[0].code, "GOING_AWAY");
    await trying;
  },
};

const timer = setTimeout(() => {
  console.error(`${scenario} over ${transports}: no end in 30 s`);
  process.exit(1);
}, 30_000);
try {
  await scenarios[scenario]();
} catch (err) {
  console.error(err.stack ?? err);
  process.exitCode = 1;
}
clearTimeout(timer);
for (const socket of open) socket.disconnect();
