import type { Kit } from "./kit.js";
import type { Frame } from "./parser.js";
import type { Wire, WireOptions } from "./wire.js";

const SEPARATOR = "\x1e";

/**
 * Engine.IO's HTTP long-polling: packets come as answers to GET requests, one
 * of which always waits, and go out by POST. This module is loaded when no
 * WebSocket could be opened twice in a row.
 */
export function openPolling({ url, platform, credentials, frame, closed }: WireOptions, kit: Kit): Wire {
  const { actionOf, answered, clock, local, part } = kit;
  const request = part(platform, "fetch")!;
  const ctl = new AbortController();
  const { signal } = ctl;
  const queue: Frame[][] = [];
  let sending = false;
  let over = false;
  let most = 1e6; // bytes of a body

  const end: WireOptions["closed"] = (...why) => {
    if (!over) closed(...why);
  };
  const lost = (e: unknown) => end(local("CONNECTION_LOST", `${e}`, false, e), "reconnect");

  const call = (body?: string) =>
    request(url.href, {
      method: body ? "POST" : "GET",
      ...(body && { body }),
      credentials,
      cache: "no-store",
      redirect: "error", // a body may carry a token
      signal,
    });

  const take = async (r: Response) => {
    const text = await r.text();
    const packets = text.split(SEPARATOR, 1025);
    if (text.length > 4 << 20 || packets.length > 1024) return lost("too much in a poll");
    for (const p of packets) {
      if (over) return;
      if (p[0] === "0") opened(p);
      frame(p[0] === "b" ? bytes(p.slice(1)) : p);
    }
  };

  const opened = (packet: string) => {
    const { sid, maxPayload } = JSON.parse(packet.slice(1));
    url.searchParams.set("sid", sid);
    most = maxPayload || most;
  };

  const run = async () => {
    try {
      const first = await call().catch((e) => end(local("NETWORK", "no connection", false, e), "reconnect", true));
      if (!first) return;
      if (first.status !== 200) return await refused(first);
      await take(first);
      while (!over) {
        const r = await call();
        if (r.status !== 200) return lost(`polling ended with ${r.status}`);
        await take(r);
      }
    } catch (e) {
      lost(e);
    }
  };

  // A proxy answers without a code, of which the status says something.
  const refused = async (r: Response) => {
    const body = await r.text();
    const { codeOf } = await import("../http/http.js");
    const error = answered(r, body, "Polling", clock(platform), codeOf);
    end(error, actionOf(error), !new RegExp(`"code"\\s*:\\s*"${error.code}"`).test(body));
  };

  const flush = async () => {
    if (sending) return;
    sending = true;
    try {
      while (queue.length) {
        let body = "";
        // What is waiting goes in one request, as far as the server takes it.
        for (let n = 0; queue[0] && (!n || n + queue[0].length < 33); ) {
          const packet = (await Promise.all(queue[0].map(text))).join(SEPARATOR);
          if (n && body.length + packet.length > most / 3) break; // characters of up to 3 bytes
          body += (n ? SEPARATOR : "") + packet;
          n += queue.shift()!.length;
        }
        const r = await call(body);
        if (r.status !== 200) return lost(`polling ended with ${r.status}`);
      }
    } catch (e) {
      lost(e);
    } finally {
      sending = false;
    }
  };

  void run();
  return {
    send(frames) {
      queue.push(frames);
      void flush();
    },
    close() {
      over = true;
      if (!url.searchParams.has("sid")) return ctl.abort();
      queue.push(["1"]);
      const late = setTimeout(() => ctl.abort(), 2000);
      void flush().then(() => {
        if (queue.length) return; // another flush is at it, and has its time
        clearTimeout(late);
        ctl.abort();
      });
    },
  };
}

/** The bytes of a base64 text; throws for what is none. */
export function bytes(text: string): ArrayBuffer {
  if (text.length % 4 || !/^[\w+/]*={0,2}$/.test(text)) throw new Error("no base64");
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
}

async function text(f: Frame): Promise<string> {
  if (typeof f === "string") return f;
  const raw = "size" in f ? await f.arrayBuffer() : f;
  const b = ArrayBuffer.isView(raw) ? new Uint8Array(raw.buffer, raw.byteOffset, raw.byteLength) : new Uint8Array(raw);
  let s = "";
  for (let i = 0; i < b.length; i += 8192) s += String.fromCharCode(...b.subarray(i, i + 8192));
  return "b" + btoa(s);
}
