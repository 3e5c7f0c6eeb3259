// A real Holdfast server, to which a backend publishes over HTTP.
import { execFileSync, spawn } from "node:child_process";
import { createHmac, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { Agent, request } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { web } from "../scripts/bundle.mjs";
import { data, event, room } from "./events.mjs";

const secret = randomBytes(32).toString("hex");
const base64url = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

function mint() {
  const now = Math.floor(Date.now() / 1000);
  const head = `${base64url({ alg: "HS256", typ: "JWT" })}.${base64url({ sub: "u1", iat: now, exp: now + 3600, jti: `${now}` })}`;
  return `${head}.${createHmac("sha256", secret).update(head).digest("base64url")}`;
}

/** Starts `holdfast serve --dev` for pages of that origin. */
export async function startHoldfast(origin) {
  const place = mkdtempSync(join(tmpdir(), "holdfast-bench-"));
  const bin = join(place, "holdfast");
  execFileSync("go", ["build", "-o", bin, "./cmd/holdfast"], { cwd: dirname(web), stdio: "inherit" });
  const run = (...args) => execFileSync(bin, args, { cwd: place, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim();
  const key = run("key", "create", "--data", place, "--scope", "publish", "--room", "**");
  const args = ["serve", "--dev", "--addr", "127.0.0.1:0", "--admin-addr", "off", "--data", place, "--allowed-origin", origin];
  const child = spawn(bin, args, { cwd: place, stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, HOLDFAST_JWT_SECRET: secret } });
  const ended = new Promise((resolve) => child.once("close", resolve));
  const url = await new Promise((resolve, reject) => {
    let text = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk) => {
        text = (text + chunk).slice(-10_000);
        const found = /listening on (http\S+)/.exec(text);
        if (found) resolve(found[1]);
      });
    void ended.then(() => reject(new Error(`holdfast ended: ${text}`)));
  });

  const agent = new Agent({ keepAlive: true, maxSockets: 16 });
  const publish = (n) =>
    new Promise((resolve, reject) => {
      const headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/json" };
      const req = request(`${url}/api/rooms/${room}/events`, { method: "POST", agent, headers }, (res) => {
        let text = "";
        res.on("data", (chunk) => (text += chunk));
        res.on("end", () => (res.statusCode === 200 ? resolve() : reject(new Error(`${res.statusCode} ${text}`))));
      });
      req.on("error", reject);
      req.end(JSON.stringify({ event, data: data(n) }));
    });

  return {
    url,
    token: mint(),
    /** Publishes events `from` to `to` - 1, 16 at a time, so in no strict order. */
    async send(from, to) {
      let next = from;
      const publisher = async () => {
        while (next < to) await publish(next++);
      };
      await Promise.all(Array.from({ length: 16 }, publisher));
    },
    async close() {
      agent.destroy();
      child.kill("SIGTERM");
      await ended;
      rmSync(place, { recursive: true, force: true });
    },
  };
}
