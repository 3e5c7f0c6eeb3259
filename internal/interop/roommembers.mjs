// Members of a room by the official Socket.IO client, ws and eventsource, and
// publishers by the first two. The Go test calls it as: node roommembers.mjs
// '{"room","names","members":{KIND:{"url","token"}},"publishers":{KIND:…}}'.
// It prints JSON lines: what each member hears, as the objects of /ws, and what
// was acknowledged. Lines on stdin, {"by","events"}, are what to publish. Each
// member comes back by itself when it is cut off, and resumes.
import { io } from "socket.io-client";
import { EventSource } from "eventsource";
import WebSocket from "ws";
import { createInterface } from "node:readline";

const { room, names, members, publishers } = JSON.parse(process.argv[2]);
const say = (line) => console.log(JSON.stringify(line));
const bearer = (token) => ({ Authorization: `Bearer ${token}` });

// member keeps what one needs to come back: its position.
function member(name) {
  let since;
  return {
    since: () => since,
    joined({ epoch, offset, recovered }) {
      if (since && recovered !== true) say({ member: name, lost: `recovered: ${recovered}` });
      if (!since) say({ member: name, joined: true });
      since ??= { epoch, offset };
    },
    heard(event, buffers = 0) {
      say({ member: name, event, buffers });
      since = { epoch: event.epoch, offset: event.offset };
    },
    lost: (why) => say({ member: name, lost: why }),
  };
}

// showBytes puts {"$base64"} where there are bytes, and counts them.
function showBytes(data) {
  let buffers = 0;
  const show = (v) => {
    if (Buffer.isBuffer(v)) {
      buffers++;
      return { $base64: v.toString("base64") };
    }
    if (Array.isArray(v)) return v.map(show);
    if (v && typeof v === "object") return Object.fromEntries(Object.entries(v).map(([k, e]) => [k, show(e)]));
    return v;
  };
  return [show(data), buffers];
}

function socketIO(name, transports, { url, token }) {
  const me = member(name);
  const socket = io(url, { transports, auth: { token }, forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 200 });
  socket.onAny((event, data, meta) => {
    if (meta?.offset === undefined) return; // said to this connection, or a notice
    const [shown, buffers] = showBytes(data);
    me.heard({ ...meta, event, data: shown }, buffers);
  });
  socket.on("connect", () =>
    socket.emit("room:join", { room, since: me.since() }, (answer) => (answer.ok ? me.joined(answer.data) : me.lost(JSON.stringify(answer)))),
  );
}

// redial opens a WebSocket, and another one whenever it is lost. open gets it
// when it is connected, message what it hears.
function redial(url, options, open, message) {
  const ws = new WebSocket(url, options);
  ws.on("open", () => open(ws));
  ws.on("message", (text) => message(JSON.parse(text), ws));
  ws.on("error", () => {}); // close follows
  ws.on("close", () => setTimeout(() => redial(url, options, open, message), 50));
}

function plain(name, { url, token }) {
  const me = member(name);
  redial(url, {}, (ws) => {
    ws.send(JSON.stringify({ type: "auth", token }));
    ws.send(JSON.stringify({ type: "join", room, since: me.since(), ref: 1 }));
  }, ({ type, ...rest }) => {
    if (type === "event") me.heard(rest);
    if (type === "ok") me.joined(rest.data);
    if (type === "error" || type === undefined) me.lost(JSON.stringify(rest));
  });
}

function topic(name, { url, token }) {
  const me = member(name);
  redial(url, { headers: bearer(token) }, (ws) => ws.send(JSON.stringify({ topic: "join", data: { room, since: me.since() }, ref: 1 })), (frame) => {
    const { topic, data, meta } = frame;
    if (meta?.offset !== undefined) me.heard({ ...meta, event: topic, data });
    else if (topic === "event") me.heard((({ type, ...event }) => event)(data));
    else if (topic === "ok") me.joined(data);
    else if (topic === "error") me.lost(JSON.stringify(frame));
  });
}

function stream(name, { url, token }) {
  const me = member(name);
  const source = new EventSource(`${url}?room=${encodeURIComponent(room)}`, {
    fetch: (target, init) => fetch(target, { ...init, headers: { ...init.headers, ...bearer(token) } }),
  });
  let connected = false;
  for (const event of new Set(["message", "connected", "reset", "auth_closing", ...names])) {
    source.addEventListener(event, (e) => {
      if (typeof e.data !== "string") return; // the source's own open and error
      const { type, ...rest } = JSON.parse(e.data);
      if (type === "event") me.heard(rest);
      else if (type !== "connected") me.lost(e.data);
      else if (!connected) me.joined({ ...rest.rooms[0] });
      connected = true;
    });
  }
  source.addEventListener("error", () => source.readyState === EventSource.CLOSED && me.lost("the stream was refused"));
}

const kinds = {
  "socket.io websocket": (name, o) => socketIO(name, ["websocket"], o),
  "socket.io polling": (name, o) => socketIO(name, ["polling"], o),
  ws: plain,
  "ws topic": topic,
  eventsource: stream,
};
for (const [kind, options] of Object.entries(members)) kinds[kind](kind, options);

// publishing returns how to publish by a publisher of each kind. What it returns answers
// with the position.
const publishing = {
  "socket.io": ({ url, token }) => {
    const socket = io(url, { transports: ["websocket"], auth: { token }, forceNew: true });
    return async (payload) => {
      const answer = await socket.timeout(15_000).emitWithAck("room:publish", payload);
      if (!answer.ok) throw new Error(JSON.stringify(answer));
      return answer.data;
    };
  },
  ws: ({ url, token }) => {
    const ws = new WebSocket(url, { headers: bearer(token) });
    const admitted = new Promise((resolve) => ws.once("message", resolve));
    const waiting = new Map();
    let ref = 0;
    ws.on("message", (text) => {
      const answer = JSON.parse(text);
      const done = waiting.get(answer.ref);
      waiting.delete(answer.ref);
      done?.(answer);
    });
    return async (payload) => {
      await admitted;
      const answer = await new Promise((resolve) => {
        waiting.set(++ref, resolve);
        ws.send(JSON.stringify({ type: "publish", ref, ...payload }));
      });
      if (answer.type !== "ok") throw new Error(JSON.stringify(answer));
      return answer.data;
    };
  },
};
const publishes = Object.fromEntries(Object.entries(publishers).map(([by, options]) => [by, publishing[by](options)]));

// Four at a time, so that publishers get between each other.
async function publishAll({ by, events }) {
  const next = events.values();
  const worker = async () => {
    for (const { number, bytes, ...event } of next) {
      if (bytes) event.data = { png: Buffer.from(bytes, "base64"), of: event.data };
      say({ by, number, position: await publishes[by]({ room, ...event }) });
    }
  };
  await Promise.all([worker(), worker(), worker(), worker()]);
}

createInterface({ input: process.stdin })
  .on("line", (line) => publishAll(JSON.parse(line)))
  .on("close", () => process.exit(0));
