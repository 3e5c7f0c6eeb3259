// The real server, for tests: `go` has to be there.
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { createHmac } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../../../..", import.meta.url));
const secret = "0123456789abcdef0123456789abcdef";
const dir = mkdtempSync(join(tmpdir(), "holdfast-web-"));
const bin = join(dir, "holdfast");

/** Builds the program. Takes a while the first time. */
export const build = () => void execFileSync("go", ["build", "-o", bin, "./cmd/holdfast"], { cwd: root, stdio: "inherit" });

/** Removes the program, and what servers have kept. */
export const remove = () => rmSync(dir, { recursive: true, force: true });

/** A token that the servers take. */
export function mint(sub: string, seconds = 900): string {
  const b64 = (s: unknown) => Buffer.from(JSON.stringify(s)).toString("base64url");
  const now = Math.floor(Date.now() / 1000);
  const head = `${b64({ alg: "HS256", typ: "JWT" })}.${b64({ sub, iat: now, exp: now + seconds, jti: `${Math.random()}` })}`;
  return `${head}.${createHmac("sha256", secret).update(head).digest("base64url")}`;
}

export interface Running {
  url: string;
  stop(): Promise<void>;
}

/** Starts a server, with more flags. At a port where one has just been another program may be for a while. */
export async function start(port = 0, ...more: string[]): Promise<Running> {
  for (let tries = port ? 50 : 1; ; tries--)
    try {
      return await run(port, more);
    } catch (error) {
      if (tries <= 1 || !/address already in use/.test(String(error))) throw error;
    }
}

function run(port: number, more: string[]): Promise<Running> {
  const args = ["serve", "--addr", `127.0.0.1:${port}`, "--admin-addr", "off", "--default-rooms", "**", "--jwt-secret", secret];
  const child: ChildProcess = spawn(bin, [...args, "--data", dir, ...more], { cwd: dir, stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  child.stderr!.on("data", (d) => (log += d));
  const ended = new Promise<void>((r) => child.on("exit", () => r()));
  return new Promise((resolve, reject) => {
    let out = "";
    child.stdout!.on("data", (d) => {
      out += d;
      const m = /listening on (\S+)/.exec(out);
      if (!m) return;
      const url = m[1]!;
      resolve({ url, stop: () => (child.kill("SIGTERM"), ended) });
    });
    void ended.then(() => reject(new Error(`the server ended: ${log}`)));
  });
}

/** Where a server listens. */
export const portOf = ({ url }: Running): number => Number(new URL(url).port);
