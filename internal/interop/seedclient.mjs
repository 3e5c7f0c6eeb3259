// Drives a Holdfast server that has accounts with the npm package
// realtimehttpauthclient, as it is. The Go test calls it as:
// node seedclient.mjs SCENARIO < {"url","password","leeway"}
// A line on stdout asks the Go test to "stop" or to "start" the server. An
// assertion that fails ends it with status 1 and the reason on stderr.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { WebSocket } from "ws";

// Another module with the same exports can be put in its place (web/packages/client/test/real/compat.test.ts).
const { createRealtimeClient, initializeHttp } = await import(process.env.SEED_CLIENT || "realtimehttpauthclient");
// What @holdfast/client/compat does otherwise: new tokens are presented on the connection, and there is none that
// it makes in vain with a token that is known to have ended. The newest CSRF token is sent.
const inPlace = !!process.env.SEED_CLIENT;

const scenario = process.argv[2];
const { url, password, leeway } = JSON.parse(readFileSync(0, "utf8"));
const other = url.replace("127.0.0.1", "localhost"); // has cookies of its own

// What a browser does and fetch of Node does not: it keeps cookies, for each
// host and path, and says of what origin the page is. Each page here is of the
// server that it calls. The calls are kept as well.
const jar = new Map(); // host → name → {value, path, httpOnly}
const calls = [];
const nodeFetch = globalThis.fetch;
globalThis.fetch = async (address, init = {}) => {
  if (address instanceof Request) {
    const { url, method, headers, credentials, redirect, signal } = address;
    [address, init] = [url, { method, headers, credentials, redirect, signal, body: (await address.text()) || undefined }];
  }
  const target = new URL(address);
  const call = { method: init.method ?? "GET", path: target.pathname, body: init.body, headers: new Headers(init.headers) };
  const headers = new Headers(init.headers);
  const cookies = cookiesOf(target);
  if (cookies && init.credentials === "include") headers.set("Cookie", cookies);
  if (call.method !== "GET") headers.set("Origin", target.origin);
  calls.push(call);
  const response = await nodeFetch(address, { ...init, headers });
  for (const line of response.headers.getSetCookie()) keep(target.hostname, line);
  call.status = response.status;
  call.answer = response.headers;
  if (!response.ok) call.code = (await response.clone().json()).code;
  return response;
};

const cookiesOf = ({ hostname, pathname }, readable = () => true) =>
  [...(jar.get(hostname) ?? [])]
    .filter(([, c]) => readable(c) && (pathname === c.path || pathname.startsWith(c.path.replace(/\/?$/, "/"))))
    .map(([name, c]) => `${name}=${c.value}`)
    .join("; ");

function keep(host, line) {
  const [pair, ...rest] = line.split("; ");
  const [name, value] = [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)];
  const attributes = Object.fromEntries(rest.map((a) => [...a.split("="), true].slice(0, 2)));
  if (!jar.has(host)) jar.set(host, new Map());
  jar.get(host).delete(name);
  if (attributes["Max-Age"] !== "0") jar.get(host).set(name, { value, path: attributes.Path, httpOnly: "HttpOnly" in attributes });
}

globalThis.WebSocket = class extends WebSocket {
  constructor(address) {
    const target = new URL(address.replace(/^ws/, "http"));
    super(address, { headers: { cookie: cookiesOf(target), origin: target.origin } });
  }
};

const cookie = (name, base = url) => jar.get(new URL(base).hostname)?.get(name)?.value;
const called = (path, status) => calls.filter((c) => c.path === path && (status === undefined || c.status === status)).length;
const tokenCalls = (status) => called("/api/realtime/token", status);

const config = (base) => ({
  apiBaseUrl: base,
  socketUrl: base,
  refresh: { enabled: true, endpoint: `${base}/api/realtime/token` },
  csrf: { enabled: true, fetchEndpoint: "/api/auth/csrf" },
  ackTimeoutMs: 10_000,
});

// page is what an application makes of the package, and what it has seen.
const pages = [];
function page(base = url, options = {}) {
  const seen = { connects: 0, errors: [], reasons: [], unauthorized: 0 };
  const client = createRealtimeClient({
    ...config(base),
    onSocketConnect: () => seen.connects++,
    onSocketDisconnect: (reason) => seen.reasons.push(reason),
    onSocketError: (err) => seen.errors.push(err.message),
    onUnauthorized: () => seen.unauthorized++,
    ...options,
    socketOptions: { reconnectionDelay: 20, reconnectionDelayMax: 100, ...options.socketOptions },
  });
  pages.push(client);
  return { client, seen };
}

const signIn = ({ client }, name) => client.http.post("/api/auth/sign-in", { email: `${name}@example.com`, password });

// entered is a page whose user has signed in and whose socket is connected.
async function entered(name, base, options) {
  const p = page(base, options);
  p.user = (await signIn(p, name)).user;
  p.client.on("auth:session", (session) => (p.session = session));
  await fresh(p);
  return p;
}

// fresh gets a new token, which makes the package connect its socket by itself, anew where it is connected.
async function fresh(p) {
  const before = p.seen.connects;
  assert.ok(await p.client.refresh.refreshAccessToken());
  await until("connected with a new token", () => (inPlace || p.seen.connects > before) && p.client.isConnected());
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
let waiting = "";
async function until(what, happened) {
  for (waiting = what; !(await happened()); ) await sleep(5);
  waiting = "";
}

const claims = (token) => JSON.parse(Buffer.from(token.split(".")[1], "base64url"));
// deadline waits until a token is no good, clocks that differ included.
const deadline = (token) => sleep(claims(token).exp * 1000 + leeway - Date.now() + 200);
const rooms = (p) => p.client.emitAck("rooms"); // where the server has this connection

const scenarios = {
  // POST /api/realtime/token: a cookie, and nothing else.
  async token() {
    const p = page();
    assert.equal(await p.client.refresh.refreshAccessToken(), null); // not signed in
    assert.deepEqual([tokenCalls(401), p.seen.unauthorized], [1, 1]);
    const answer = await signIn(p, "alice");
    assert.equal(answer.user.email, "alice@example.com");
    assert.equal(answer.refreshToken, undefined); // a page has cookies
    assert.ok(cookie("session") && cookie("refresh"));

    const token = await p.client.refresh.refreshAccessToken();
    assert.equal(claims(token).sub, answer.user.id);
    const call = calls.at(-1);
    assert.deepEqual([call.method, call.path, call.status, call.body], ["POST", "/api/realtime/token", 200, undefined]);
    assert.deepEqual(Object.fromEntries(call.headers), { accept: "application/json" }); // no CSRF token, no content type
    assert.equal(call.answer.get("cache-control"), "no-store");
    await until("the socket connects by itself", () => p.client.isConnected());
    assert.deepEqual(p.seen.errors, []);
    const raw = await (await fetch(`${url}/api/realtime/token`, { method: "POST", credentials: "include" })).json();
    assert.deepEqual(Object.keys(raw).sort(), ["accessToken", "expiresAt", "expiresIn"]);
    assert.equal(raw.expiresAt, claims(raw.accessToken).exp * 1000);
  },

  // A page that has no token yet is let in by its cookie.
  async cookie() {
    const p = page();
    const { user } = await signIn(p, "alice");
    const q = page(url, { socketOptions: { extraHeaders: { cookie: cookiesOf(new URL(`${url}/socket.io/`)), origin: url } } });
    q.client.on("auth:session", (session) => (q.session = session));
    await q.client.connect();
    await until("the session is told", () => q.session);
    assert.equal(q.session.user.id, user.id);
    assert.deepEqual(await q.client.emitAck("echo", { by: "cookie" }), { by: "cookie" });
    assert.equal(tokenCalls(), 0);
  },

  // Calls with a token that has expired: 401, a refresh, and once more. The
  // package's HTTP client alone: a socket would refresh as well.
  async http() {
    let token = null;
    let unauthorized = 0;
    const http = initializeHttp({ ...config(url), getAccessToken: () => token, setAccessToken: (t) => (token = t), onUnauthorized: () => unauthorized++ });
    const { accessToken: first } = await http.post("/api/auth/sign-in", { email: "alice@example.com", password });
    token = first;
    assert.deepEqual(await http.post("/app/todos", { text: "one" }), ["one"]);
    assert.deepEqual(await http.get("/app/todos"), ["one"]);
    assert.equal(calls.at(-1).headers.get("authorization"), `Bearer ${first}`);
    assert.equal(tokenCalls(), 0);

    await deadline(first);
    for (const [call, want] of [[() => http.get("/app/todos"), ["one"]], [() => http.post("/app/todos", { text: "two" }), ["one", "two"]]]) {
      token = first;
      calls.length = 0;
      assert.deepEqual(await call(), want); // the POST had its effect once
      assert.deepEqual(calls.map((c) => `${c.path} ${c.status}`), ["/app/todos 401", "/api/realtime/token 200", "/app/todos 200"]);
      assert.equal(calls[0].answer.get("www-authenticate"), 'Bearer error="invalid_token"');
      assert.equal(calls[0].code, "TOKEN_EXPIRED");
    }

    token = first;
    calls.length = 0;
    await Promise.all([http.post("/app/todos", { text: "three" }), http.get("/app/todos"), http.get("/app/todos")]);
    assert.deepEqual([called("/app/todos", 401), called("/app/todos", 200)], [3, 3]);
    // Those that are refused while it refreshes share it; later ones do it again.
    assert.ok(tokenCalls(200) === tokenCalls() && tokenCalls() >= 1 && tokenCalls() <= 3, `${tokenCalls()} refreshes`);
    assert.deepEqual(await http.get("/app/todos"), ["one", "two", "three"]);
    assert.equal(unauthorized, 0);
  },

  // One CSRF token, fetched before sign-in, lasts: the package never gets another.
  async csrf() {
    const p = page();
    await p.client.http.prefetchCsrf();
    const first = calls[0].answer.get("x-csrf-token");
    assert.match(first, /^[A-Za-z0-9_.-]+$/);
    assert.equal(cookie("csrf-token"), first);
    assert.ok(cookie("csrf-id"));
    await signIn(p, "alice");
    assert.equal(calls.at(-1).headers.get("x-csrf-token"), first);
    assert.notEqual(cookie("csrf-token"), first); // of the session; the package does not look
    // There is no bearer token: the cookie is the credential.
    assert.deepEqual(await p.client.http.post("/app/todos", { text: "by cookie" }), ["by cookie"]);
    const call = calls.at(-1);
    assert.deepEqual([call.headers.get("authorization"), call.headers.get("x-csrf-token")], [null, inPlace ? cookie("csrf-token") : first]);
    await p.client.http.post("/api/auth/sign-out");
    assert.equal(cookie("session"), undefined);
    await signIn(p, "alice"); // and once more
    assert.deepEqual(await p.client.http.post("/app/todos", { text: "again" }), ["by cookie", "again"]);
    assert.equal(called("/api/auth/csrf"), 1);

    const forged = await fetch(`${url}/app/todos`, { method: "POST", credentials: "include", body: '{"text":"forged"}', headers: { "Content-Type": "application/json" } });
    assert.deepEqual([forged.status, (await forged.json()).code], [403, "CSRF_MISMATCH"]);
    await assert.rejects(p.client.http.post("/app/todos", { text: "forged" }, { headers: { "X-CSRF-Token": "forged" } }), { status: 403 });
    assert.deepEqual(await p.client.http.get("/app/todos"), ["by cookie", "again"]);
    assert.equal(tokenCalls(), 0); // a 403 is nothing to refresh for
  },

  async rooms() {
    const [alice, bob] = [await entered("alice", url), await entered("bob", other)];
    for (const p of [alice, bob]) {
      p.log = [];
      p.client.on("note", (data, meta) => p.log.push([data.n, meta.room, meta.offset, meta.from]));
      p.client.joinRoom("r");
      p.client.joinRoom("r"); // counted by the package: the server hears of one
      assert.deepEqual(await rooms(p), ["r"]);
    }
    const publish = (p, n) => p.client.emitAck("room:publish", { room: "r", event: "note", data: { n } });
    await Promise.all(Array.from({ length: 40 }, (_, n) => publish(n % 2 ? alice : bob, n)));
    await until("40 notes for both", () => alice.log.length >= 40 && bob.log.length >= 40);
    assert.deepEqual(alice.log, bob.log);
    assert.deepEqual(alice.log.map((e) => e[2]), Array.from({ length: 40 }, (_, i) => i + 1));
    for (const [n, room, , from] of alice.log) assert.deepEqual([room, from], ["r", (n % 2 ? alice : bob).user.id]);

    bob.client.leaveRoom("r");
    assert.deepEqual(await rooms(bob), ["r"]);
    bob.client.leaveRoom("r");
    assert.deepEqual(await rooms(bob), []);
    await publish(alice, 40);
    await until("the note that bob does not get", () => alice.log.length === 41);
    await rooms(bob);
    assert.equal(bob.log.length, 40);

    // A room that one may not enter: told, and nothing is refreshed for it.
    const refusals = [];
    bob.client.on("room:error", (e) => refusals.push(e));
    bob.client.joinRoom("secret");
    await until("room:error", () => refusals.length);
    assert.deepEqual([refusals[0].room, refusals[0].code], ["secret", "FORBIDDEN"]);
    assert.deepEqual([tokenCalls(), bob.seen.connects, bob.seen.errors], [2, 1, []]);
  },

  async acks() {
    const p = await entered("alice");
    assert.deepEqual(await p.client.emitAck("echo", { text: "grüße 🎉", list: [1, null, true] }), { text: "grüße 🎉", list: [1, null, true] });
    assert.equal(await p.client.emitAck("echo"), null); // a missing payload arrives as null
    assert.deepEqual(await p.client.emitAck("raw", { three: 3 }), { three: 3 }); // no {ok}: as it is
    const joined = await p.client.emitAck("room:join", { room: "r" });
    assert.deepEqual([joined.room, joined.offset, typeof joined.epoch], ["r", 0, "string"]);
    await assert.rejects(p.client.emitAck("refuse", {}), { message: "That is taken" });
    await assert.rejects(p.client.emitAck("fail", {}), (err) => err.message && !err.message.includes("inside"));
    for (const [event, payload] of [["nobody:home"], ["room:join", { room: "secret" }], ["room:publish", { room: "secret", event: "x", data: 1 }], ["room:join", "r"]]) {
      await assert.rejects(p.client.emitAck(event, payload), (err) => err.message !== "Ack error" && !err.message.includes("timeout"), event);
    }
    assert.deepEqual(await p.client.emitAck("echo", "still here"), "still here");
    assert.deepEqual([tokenCalls(), p.seen.connects], [1, 1]);
  },

  // The server is stopped, and comes back at the same address with its data.
  async restart() {
    const p = await entered("alice", url, { offlineQueue: { enabled: true } });
    const bob = await entered("bob", other);
    const log = [];
    p.client.on("note", (data) => log.push(data));
    p.client.joinRoom("r");
    p.client.joinRoom("s");
    assert.deepEqual((await rooms(p)).sort(), ["r", "s"]);
    const reasons = [];
    p.client.on("auth:closing", (e) => reasons.push(e.code));
    console.log("stop");
    await until("disconnected", () => p.seen.reasons.length && bob.seen.reasons.length);
    assert.deepEqual([reasons, p.seen.reasons], [["GOING_AWAY"], ["transport close"]]); // a reason to come back
    p.client.emit("add", "while it was away");
    await until("an attempt in vain", () => p.seen.errors.length > 1);
    console.log("start");
    await until("connected again", () => p.seen.connects === 2 && bob.seen.connects === 2);
    assert.deepEqual((await rooms(p)).sort(), ["r", "s"]);
    await bob.client.emitAck("room:publish", { room: "r", event: "note", data: "after" });
    await until("a note", () => log.length);
    assert.deepEqual(log, ["after"]);
    assert.deepEqual(await p.client.http.get("/app/todos"), ["while it was away"]);
    assert.equal(tokenCalls(), 2); // one each, before: no attempt in vain made them refresh
    await fresh(p); // the session is still there
    assert.deepEqual([p.seen.unauthorized, bob.seen.unauthorized], [0, 0]);
  },

  // A page that does not refresh ahead: the server ends the connection, and it
  // comes back with a new token and into its rooms.
  async expiry() {
    const p = await entered("alice");
    const closing = [];
    const log = [];
    p.client.on("auth:closing", (e) => closing.push(e.code));
    p.client.on("note", (data) => log.push(data));
    p.client.joinRoom("r");
    const first = await p.client.getAccessToken();
    if (inPlace) await until("a new token", () => tokenCalls(200) > 1);
    else {
      await until("connected again", () => p.seen.connects === 2);
      assert.ok(Date.now() >= claims(first).exp * 1000 + leeway - 50);
      assert.deepEqual(closing, ["TOKEN_EXPIRED"]);
      assert.deepEqual(p.seen.reasons, ["transport close"]);
      assert.deepEqual(p.seen.errors, ["Unauthorized: token expired"]);
      assert.deepEqual([tokenCalls(), p.seen.unauthorized], [2, 0]);
    }
    assert.deepEqual(await rooms(p), ["r"]);
    await p.client.emitAck("room:publish", { room: "r", event: "note", data: "after" });
    await until("a note", () => log.length);
    assert.deepEqual(log, ["after"]);
  },

  // The first token that the socket connects with has expired already.
  async expired() {
    const p = page();
    await signIn(p, "alice");
    const { accessToken } = await (await fetch(`${url}/api/realtime/token`, { method: "POST", credentials: "include" })).json();
    await deadline(accessToken);
    calls.length = 0;
    p.client.setAccessToken(accessToken);
    await until("connected", () => p.client.isConnected());
    assert.deepEqual(p.seen.errors, ["Unauthorized: token expired"]);
    // So short a token makes the server ask at once for the next one.
    assert.deepEqual(calls.slice(0, inPlace ? 1 : 9).map((c) => `${c.path} ${c.status}`), ["/api/realtime/token 200"]);
    assert.deepEqual([p.seen.connects, p.seen.unauthorized], [1, 0]);
    assert.equal(await p.client.emitAck("echo", 1), 1);
  },

  // A refusal that is not about the credential: said once, nothing refreshed.
  async forbidden() {
    const p = page();
    await signIn(p, "mallory");
    await p.client.refresh.refreshAccessToken();
    await until("refused", () => p.seen.errors.length);
    // The word that its message has in Go would make the package refresh.
    for (const word of ["unauthorized", "jwt", "token"]) assert.ok(!p.seen.errors[0].toLowerCase().includes(word), p.seen.errors[0]);
    await sleep(500); // several times the delay of a reconnection
    assert.deepEqual([tokenCalls(), p.seen.errors.length, p.seen.connects, p.seen.unauthorized], [1, 1, 0, 0]);
    await assert.rejects(p.client.http.get("/app/forbidden"), { status: 403, message: "Not for you" });
    assert.equal(tokenCalls(), 1);
    assert.ok(await p.client.getAccessToken()); // it has not been taken away
  },

  // Rights that have changed make the tokens from before stale.
  async stale() {
    const p = await entered("alice");
    const expiring = [];
    p.client.on("auth:expiring", (e) => expiring.push(e.reason));
    p.client.joinRoom("r");
    const first = p.session.connection;
    await p.client.emitAck("bump");
    await until("auth:expiring", () => expiring.length);
    assert.deepEqual(expiring, ["permissions"]);
    if (inPlace) {
      await until("a new token", async () => tokenCalls(200) === 2);
      assert.deepEqual(await p.client.http.get("/app/todos"), []);
      assert.deepEqual(await rooms(p), ["r"]);
      assert.deepEqual([p.seen.connects, p.session.connection, p.seen.errors, p.seen.unauthorized], [1, first, [], 0]);
      return;
    }
    calls.length = 0;
    assert.deepEqual(await p.client.http.get("/app/todos"), []);
    assert.deepEqual(calls.map((c) => `${c.path} ${c.status}`), ["/app/todos 401", "/api/realtime/token 200", "/app/todos 200"]);
    assert.equal(calls[0].code, "PERMISSION_VERSION_STALE");
    // The new token made the package reconnect: it knows no auth:refresh.
    await until("connected again", () => p.seen.connects === 2 && p.session.connection !== first);
    assert.deepEqual(p.seen.reasons, ["io client disconnect"]);
    assert.deepEqual(await rooms(p), ["r"]);
    assert.deepEqual([p.seen.errors, p.seen.unauthorized], [[], 0]);
  },

  // After a sign-out the package tries, is refused, and stops.
  async signout() {
    const p = await entered("alice");
    const closing = [];
    p.client.on("auth:closing", (e) => closing.push(e.code));
    await p.client.http.post("/api/auth/sign-out");
    await until("given up", () => p.seen.unauthorized && p.client.getSocket() === null);
    assert.deepEqual(closing, ["SESSION_REVOKED"]);
    if (!inPlace) assert.match(p.seen.errors[0], /Unauthorized/);
    assert.equal(p.seen.errors.length, inPlace ? 0 : 1);
    assert.deepEqual([tokenCalls(200), tokenCalls(401)], [1, 1]);
    await assert.rejects(p.client.http.get("/app/todos"), { status: 401 });
    await signIn(p, "alice");
    await fresh(p);
  },

  // In a browser it refreshes ahead, and reads the cookie csrf-token itself.
  async browser() {
    globalThis.window = {};
    globalThis.addEventListener = globalThis.removeEventListener = () => {};
    globalThis.navigator ??= {};
    globalThis.document = { get cookie() { return cookiesOf(new URL(`${url}/page`), (c) => !c.httpOnly); } };
    const p = page();
    await p.client.http.prefetchCsrf();
    await signIn(p, "alice");
    assert.deepEqual(document.cookie.split("; ").map((c) => c.split("=")[0]), ["csrf-token"]);
    await p.client.http.post("/app/todos", { text: "by cookie" });
    assert.equal(calls.at(-1).headers.get("x-csrf-token"), cookie("csrf-token"));
    p.client.joinRoom("r");
    await fresh(p);
    const first = await p.client.getAccessToken();
    await until("refreshed ahead of the expiry", () => (inPlace ? tokenCalls(200) : p.seen.connects) === 2);
    assert.ok(Date.now() < claims(first).exp * 1000);
    assert.deepEqual(await rooms(p), ["r"]);
    assert.deepEqual([p.seen.errors, p.seen.reasons, p.seen.unauthorized], [[], inPlace ? [] : ["io client disconnect"], 0]);
    assert.deepEqual([tokenCalls(200), called("/api/auth/csrf")], [2, 1]);
  },
};

const timer = setTimeout(() => {
  console.error(`${scenario}: no end in 100 s, waiting until: ${waiting}`);
  process.exit(1);
}, 100_000);
try {
  await scenarios[scenario]();
} catch (err) {
  console.error(err.stack ?? err);
  process.exitCode = 1;
}
clearTimeout(timer);
for (const client of pages) client.token.clearAll(); // its timer, and so its socket
for (const client of pages) await client.disconnect();
