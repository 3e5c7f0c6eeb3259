import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createTestServer, type TestServer } from "../../src/testing/index.js";

const patience = 20_000; // ms: a bound for machines that are busy

// The official client shows whether the server of tests speaks the protocol:
// it knows nothing of Holdfast.
let server: TestServer;
// It takes the global WebSocket once, when it is loaded.
vi.stubGlobal("WebSocket", function (url: string) {
  // In Node it wants "nodebuffer", which a browser's WebSocket does not know.
  return Object.assign(new server.WebSocket(url), { binaryType: "arraybuffer" });
});
vi.stubGlobal("fetch", (...args: Parameters<typeof fetch>) => server.fetch(...args));
const { io } = await import("socket.io-client");
const engine = await import("engine.io-client");
const open: { disconnect(): unknown }[] = [];

beforeEach(() => {
  server = createTestServer({ namespaces: ["/chat"] });
});
afterEach(() => {
  for (const s of open.splice(0)) s.disconnect();
  server.stop();
});

function dial(token: string, o: { namespace?: string; transports?: any[]; reconnection?: boolean } = {}) {
  const { namespace = "/", transports = [engine.WebSocket], ...more } = o;
  const socket = io(server.url + namespace, { transports, auth: { token }, forceNew: true, reconnectionDelay: 10, ...more });
  open.push(socket);
  return socket;
}

const next = (socket: ReturnType<typeof dial>, event: string) => new Promise<any[]>((resolve) => socket.once(event, (...a) => resolve(a)));
const seconds = expect.toSatisfy((n: number) => n > 890 && n <= 900);
const token = (user = "ann") => server.signIn(user).accessToken;

describe.each([["websocket", () => [engine.WebSocket]], ["polling", () => [engine.Fetch]], ["both", () => [engine.Fetch, engine.WebSocket]]])(
  "socket.io-client over %s",
  (name, transports) => {
    test("connects, learns its session, and is answered", async () => {
      const socket = dial(token(), { transports: transports() });
      const session = next(socket, "auth:session");
      await next(socket, "connect");
      expect((await session)[0]).toMatchObject({ user: { id: "ann" }, connection: socket.id, expiresIn: seconds, features: ["refresh", "id", "since"] });
      expect(await socket.emitWithAck("echo", { a: 1 })).toEqual({ ok: true, data: { a: 1 } });
      expect(await socket.emitWithAck("nothing")).toMatchObject({ ok: false, error: { code: "NOT_FOUND" } });
      expect(await socket.emitWithAck("refuse", "CONFLICT")).toMatchObject({ ok: false, error: { code: "CONFLICT" } });
      if (name === "both") {
        await vi.waitFor(() => expect(socket.io.engine.transport.name).toBe("websocket"), patience);
        expect(await socket.emitWithAck("echo", 2)).toEqual({ ok: true, data: 2 });
      }
      expect(server.connections).toBe(1);
    });

    test("binary goes both ways", async () => {
      const socket = dial(token(), { transports: transports() });
      await next(socket, "connect");
      const { data } = await socket.emitWithAck("echo", { png: new Uint8Array([1, 2, 255]) });
      expect(new Uint8Array(data.png)).toEqual(new Uint8Array([1, 2, 255]));
    });
  },
);

test("a refused credential is a connect error", async () => {
  server.refuse("TOKEN_EXPIRED");
  const socket = dial(token());
  const [e] = await next(socket, "connect_error");
  expect([e.message, e.data]).toEqual(["Unauthorized: token expired", { code: "TOKEN_EXPIRED" }]);
  const [invalid] = await next(dial(token(), { namespace: "/none" }), "connect_error");
  expect([invalid.message, invalid.data]).toEqual(["Invalid namespace", undefined]);
});

test("rooms: events come in order with their positions, and are replayed after a gap", async () => {
  const ann = dial(token());
  const bob = dial(token("bob"), { namespace: "/chat" });
  await Promise.all([next(ann, "connect"), next(bob, "connect")]);
  const got: unknown[] = [];
  ann.on("note", (data, meta) => got.push([data, meta.offset, meta.from ?? ""]));
  const joined = await ann.emitWithAck("room:join", { room: "r" });
  expect(joined).toMatchObject({ ok: true, data: { room: "r", offset: 0, presence: [{ id: "ann", connections: 1 }] } });
  const { epoch } = joined.data;
  expect(await bob.emitWithAck("room:publish", { room: "r", event: "note", data: 1 })).toEqual({ ok: true, data: { epoch, offset: 1 } });
  await ann.emitWithAck("room:leave", { room: "r" });
  server.publish("r", "note", 2);
  server.publish("r", "note", 3);
  const back = await ann.emitWithAck("room:join", { room: "r", since: { epoch, offset: 1 } });
  expect(back.data).toMatchObject({ offset: 3, recovered: true });
  expect(got).toEqual([[1, 1, "bob"], [2, 2, ""], [3, 3, ""]]);
  const lost = await bob.emitWithAck("room:join", { room: "r", since: { epoch: "another", offset: 1 } });
  expect(lost.data).toMatchObject({ offset: 3, recovered: false });
});

test("presence, typing and signals reach the others", async () => {
  const ann = dial(token());
  const bob = dial(token("bob"));
  await Promise.all([next(ann, "connect"), next(bob, "connect")]);
  await ann.emitWithAck("room:join", { room: "r" });
  const came = next(ann, "presence:join");
  await bob.emitWithAck("room:join", { room: "r", presence: { status: "here" } });
  expect(await came).toEqual([{ room: "r", user: { id: "bob", data: { status: "here" } } }]);
  const told = Promise.all([next(ann, "user_typing"), next(ann, "cursor"), next(ann, "presence:update")]);
  bob.emit("typing", { room: "r" });
  bob.emit("room:signal", { room: "r", event: "cursor", data: 1, key: "k" });
  bob.emit("presence:update", { room: "r", data: null });
  expect(await told).toEqual([
    [{ room: "r", user: { id: "bob" } }], [1, { room: "r", from: "bob", key: "k" }], [{ room: "r", user: { id: "bob" } }],
  ]);
  expect((await ann.emitWithAck("presence:get", { room: "r" })).data).toEqual([{ id: "ann", connections: 1 }, { id: "bob", connections: 1 }]);
});

test("the server ends a connection with auth:closing, and the client comes back", async () => {
  const socket = dial(token());
  await next(socket, "connect");
  const closing = next(socket, "auth:closing");
  const gone = next(socket, "disconnect");
  const back = next(socket, "connect");
  server.end("GOING_AWAY");
  expect(await closing).toEqual([{ message: "The server is going away", code: "GOING_AWAY" }]);
  expect((await gone)[0]).toBe("transport close");
  await back;
  expect(server.connections).toBe(2);
});

test("a token is swapped in place", async () => {
  const socket = dial(token());
  await next(socket, "connect");
  expect(await socket.emitWithAck("auth:refresh", { token: token() })).toMatchObject({ ok: true, data: { expiresIn: seconds } });
  expect(await socket.emitWithAck("auth:refresh", { token: token("bob") })).toMatchObject({ error: { code: "FORBIDDEN" } });
  expect(await socket.emitWithAck("auth:refresh", { token: "wrong" })).toMatchObject({ error: { code: "UNAUTHENTICATED" } });
  expect(socket.connected).toBe(true);
});

test("an id is applied once, also when its ack was lost", async () => {
  const socket = dial(token());
  await next(socket, "connect");
  const id = { $hf: { id: "01" } };
  server.dropAcks(1);
  const back = next(socket, "connect");
  socket.emit("add", "x", id, () => {});
  await back;
  expect(await socket.emitWithAck("add", "x", id)).toEqual({ ok: true, data: 1 });
  expect(await socket.emitWithAck("echo", "x", id)).toMatchObject({ error: { code: "CONFLICT" } });
  expect(server.added).toEqual(["x"]);
});

test("a broken packet ends the connection with 1002", async () => {
  const ws = new server.WebSocket(server.url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket");
  const closed = new Promise<any>((resolve) => (ws.onclose = resolve));
  ws.onmessage = () => ws.send("4{");
  expect(await closed).toMatchObject({ code: 1002, reason: "PROTOCOL_ERROR", wasClean: true });
});
