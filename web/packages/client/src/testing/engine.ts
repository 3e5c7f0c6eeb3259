import { Cut } from "./faults.js";
import type { Frame } from "./packets.js";
import { Refusal } from "./refusal.js";
import type { Link } from "./websocket.js";

export interface EngineConfig {
  pingInterval: number; // ms
  pingTimeout: number; // ms
  maxPayload: number; // bytes
}

/** Who gets the messages of an Engine. */
export interface EngineOwner {
  message(f: Frame): void;
  ended(): void;
}

const base64 = (b: Uint8Array) => btoa(String.fromCharCode(...b));

/**
 * The server's side of one Engine.IO v4 connection: over a WebSocket, over
 * polling, or upgraded from the second to the first. The owner is set before
 * it starts.
 */
export class Engine {
  readonly sid: string;
  owner: EngineOwner | undefined;
  ended = false;
  readonly #config: EngineConfig;
  #link: Link | undefined;
  #probe: Link | undefined;
  #queue: Frame[] = []; // what waits for a poll
  #poll: { give: (payload: string) => void; cut: (e: Error) => void } | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(sid: string, config: EngineConfig, link?: Link) {
    this.sid = sid;
    this.#config = config;
    this.#link = link;
  }

  /** The link that it runs over; undefined while it polls. */
  get link(): Link | undefined {
    return this.#link;
  }

  /** The first packet. With polling it is the answer to the handshake. */
  start(): string {
    const { pingInterval, pingTimeout, maxPayload } = this.#config;
    const upgrades = this.#link ? [] : ["websocket"];
    const open = "0" + JSON.stringify({ sid: this.sid, upgrades, pingInterval, pingTimeout, maxPayload });
    this.#beat();
    if (this.#link) {
      this.#listen(this.#link);
      this.#link.send(open);
    }
    return open;
  }

  #listen(link: Link): void {
    link.events = {
      frame: (f) => this.#incoming(f),
      gone: () => {
        if (this.#link === link) this.#finish();
      },
    };
  }

  /** Heartbeats: what does not answer in time has gone. */
  #beat(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#raw("2");
      this.#timer = setTimeout(() => this.end(1006, ""), this.#config.pingTimeout);
    }, this.#config.pingInterval);
  }

  /** Sends messages: texts have their Engine.IO type already. */
  send(frames: Frame[]): void {
    for (const f of frames) this.#raw(f);
  }

  #raw(f: Frame): void {
    if (this.ended) return;
    if (this.#link) return this.#link.send(f);
    this.#queue.push(f);
    this.#flush();
  }

  #flush(): void {
    const poll = this.#poll;
    if (!poll || this.#queue.length === 0) return;
    this.#poll = undefined;
    const payload = this.#queue.map((f) => (typeof f === "string" ? f : "b" + base64(f))).join("\x1e");
    this.#queue = [];
    poll.give(payload);
  }

  #incoming(f: Frame): void {
    if (this.ended) return;
    if (f.length > this.#config.maxPayload) return this.end(1009, "MESSAGE_TOO_LARGE");
    if (typeof f !== "string") return this.owner?.message(f);
    switch (f[0]) {
      case "4":
        return this.owner?.message(f.slice(1));
      case "3":
        return this.#beat();
      case "1":
        return this.end(1000, "");
      case "6":
        return;
      default:
        return this.end(1002, "PROTOCOL_ERROR");
    }
  }

  /** A GET of the client: resolves with what there is to tell. */
  poll(signal?: AbortSignal): Promise<string> {
    if (this.ended || this.#link || this.#poll) {
      this.end(1002, "PROTOCOL_ERROR");
      return Promise.reject(new Refusal("PROTOCOL_ERROR", "there is another poll, or another transport"));
    }
    return new Promise((give, cut) => {
      this.#poll = { give, cut };
      signal?.addEventListener("abort", () => {
        if (this.#poll?.give === give) this.end(1006, "");
      });
      this.#flush();
    });
  }

  /** A POST of the client. */
  payload(text: string): void {
    const packets = text.split("\x1e");
    if (this.#link || packets.length > 256) throw new Refusal("PROTOCOL_ERROR", "a payload that can't be taken");
    for (const p of packets) {
      this.#incoming(p.startsWith("b") ? Uint8Array.from(atob(p.slice(1)), (c) => c.charCodeAt(0)) : p);
    }
  }

  /** A WebSocket comes for a session that polls: it is probed, and takes over. */
  upgrade(link: Link): void {
    if (this.#link || this.#probe) return link.close(1002, "PROTOCOL_ERROR");
    this.#probe = link;
    link.events = {
      frame: (f) => {
        if (f === "2probe") {
          link.send("3probe");
          if (this.#poll) this.#raw("6");
        } else if (f === "5") {
          this.#probe = undefined;
          this.#link = link;
          this.#listen(link);
          if (this.#poll) this.#answerPoll("6");
          for (const waiting of this.#queue.splice(0)) link.send(waiting);
        } else {
          link.close(1002, "PROTOCOL_ERROR");
        }
      },
      gone: () => {
        if (this.#probe === link) this.#probe = undefined;
      },
    };
  }

  #answerPoll(payload: string): void {
    this.#poll?.give(payload);
    this.#poll = undefined;
  }

  /** Closes; a poll that waits is told in a packet of its own. */
  end(code: number, reason: string): void {
    if (this.ended) return;
    if (this.#link) {
      if (code === 1006) this.#link.cut();
      else this.#link.close(code, reason);
    } else {
      this.#flush();
      this.#answerPoll("1");
    }
    this.#finish();
  }

  /** Ends without a word, as the process does in a crash. */
  crash(): void {
    this.#link?.cut();
    this.#probe?.cut();
    this.#poll?.cut(new Cut());
    this.#poll = undefined;
    this.#finish();
  }

  #finish(): void {
    if (this.ended) return;
    this.ended = true;
    clearTimeout(this.#timer);
    this.owner?.ended();
  }
}
