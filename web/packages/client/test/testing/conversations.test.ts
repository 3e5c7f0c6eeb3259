import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Code } from "../../src/codes.js";
import { createTestServer, type TestServer } from "../../src/testing/index.js";
import type { WebSocketLike } from "../../src/platform.js";
import { advance, settle, useFakeClock } from "../lifecycle/clock.js";

// The same conversations are held with the real server: see their README.
const file = new URL("../../../../../testdata/wire/conversations.json", import.meta.url);
const conversations = JSON.parse(readFileSync(file, "utf8")) as { name: string; presenceLimit?: number; steps: Record<string, any>[] }[];

interface Line {
  socket: WebSocketLike;
  frames: (string | Uint8Array)[];
  closed?: { code: number; reason: string };
}

let server: TestServer;
let lines: Map<string, Line>;
let vars: Map<string, unknown>;

beforeEach(() => {
  useFakeClock();
  lines = new Map();
  vars = new Map();
});
afterEach(() => {
  server.stop();
  vi.useRealTimers();
});

function fill(text: string): string {
  const names = [...vars.keys()].sort((a, b) => b.length - a.length);
  return names.reduce((t, n) => (typeof vars.get(n) === "string" ? t.replaceAll("@" + n, vars.get(n) as string) : t), text);
}

function same(want: any, got: any): boolean {
  if (want === "@*") return true;
  if (typeof want === "string" && want.startsWith("@")) {
    if (!vars.has(want.slice(1))) vars.set(want.slice(1), got);
    return vars.get(want.slice(1)) === got;
  }
  if (!want || typeof want !== "object") return want === got;
  if (!got || typeof got !== "object" || Array.isArray(want) !== Array.isArray(got)) return false;
  return isDeepStrictEqual(Object.keys(want).sort(), Object.keys(got).sort()) && Object.keys(want).every((k) => same(want[k], got[k]));
}

function matches(want: string, got: string): void {
  const [i, j] = [want.search(/[{["]/), got.search(/[{["]/)];
  const alike = want.slice(0, i) === got.slice(0, j) && same(JSON.parse(want.slice(i)), JSON.parse(got.slice(j)));
  if (!alike) throw new Error(`got ${got}, want ${want}`);
}

async function call(s: Record<string, any>): Promise<void> {
  const [method, path] = s.call.split(" ");
  const headers: Record<string, string> = {};
  if (s.body) headers["Content-Type"] = "application/json";
  if (s.token) headers["Authorization"] = `Bearer ${fill(s.token)}`;
  const init = { method, headers, ...(s.body && { body: fill(JSON.stringify(s.body)) }) };
  const response = await server.fetch(server.url + fill(path), init);
  expect(response.status).toBe(s.status);
  matches(JSON.stringify(s.answer), await response.text());
}

async function open(name: string): Promise<void> {
  const socket = new server.WebSocket(`${server.url.replace("http", "ws")}/socket.io/?EIO=4&transport=websocket`);
  const line: Line = { socket, frames: [] };
  socket.binaryType = "arraybuffer";
  socket.onmessage = ({ data }) => {
    if (data === "2") socket.send("3");
    else line.frames.push(typeof data === "string" ? data : new Uint8Array(data));
  };
  socket.onclose = ({ code, reason }) => (line.closed = { code, reason });
  lines.set(name, line);
  await hear(name, '0{"sid":"@*","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}');
}

const say = (name: string, text: string) => lines.get(name)!.socket.send(fill(text));

async function next(name: string): Promise<string | Uint8Array> {
  const { frames } = lines.get(name)!;
  for (let waited = 0; frames.length === 0 && waited < 8_000; waited += 100) {
    await settle();
    if (frames.length === 0) await advance(100);
  }
  if (frames.length === 0) throw new Error("nothing is heard");
  return frames.shift()!;
}

async function hear(name: string, want: string): Promise<void> {
  const frame = await next(name);
  if (typeof frame !== "string") throw new Error("heard bytes");
  matches(want, frame);
}

async function step(s: Record<string, any>): Promise<void> {
  if (s["signIn"]) vars.set(s["as"], server.signIn(s["signIn"]).accessToken);
  else if (s["call"]) await call(s);
  else if (s["open"]) await open(s["open"]);
  else if (s["connect"]) {
    await open(s["connect"]);
    say(s["connect"], `40{"token":"${s["token"]}"}`);
    await hear(s["connect"], '40{"sid":"@*"}');
    await hear(s["connect"], '42["auth:session","@*"]');
  } else if (s["say"]) say(s["on"], s["say"]);
  else if (s["bytes"]) lines.get(s["on"])!.socket.send(Buffer.from(s["bytes"], "base64"));
  else if (s["hear"]) await hear(s["on"], s["hear"]);
  else if (s["hearBytes"]) expect(Buffer.from((await next(s["on"])) as Uint8Array).toString("base64")).toBe(s["hearBytes"]);
  else if (s["closed"]) {
    await settle();
    expect(lines.get(s["on"])!.closed).toEqual({ code: s["closed"], reason: s["reason"] });
  } else misbehave(s);
}

function misbehave(s: Record<string, any>): void {
  if (s["server"] === "expire") server.expire();
  else if (s["server"] === "refuse") server.refuse(s["code"] as Code);
  else if (s["server"] === "bump") server.bump(s["user"]);
  else if (s["server"] === "end") server.end(s["code"]);
  else if (s["server"] === "publish") server.publish(s["room"], s["event"], s["data"]);
  else throw new Error("no such step");
}

test.each(conversations)("$name", async ({ steps, presenceLimit = 500 }) => {
  server = createTestServer({ presenceLimit, claims: () => ({ rooms: ["**", "!secret-**"] }) });
  for (const [i, s] of steps.entries()) {
    try {
      await step(s);
    } catch (e) {
      throw new Error(`step ${i + 1} (${JSON.stringify(s)})`, { cause: e });
    }
  }
});
