import type { Frame } from "./packets.js";
import type { WebSocketLike } from "../platform.js";

/** What the server is told of its end of a WebSocket. */
export interface LinkEvents {
  frame(f: Frame): void;
  /** It has ended, in whatever way. */
  gone(): void;
}

/**
 * The wire between a TestSocket and the server. What is sent arrives in the
 * same order, a microtask later.
 */
export class Link {
  /** What the server sends goes nowhere. */
  mute = false;
  /** And what it could read, too: nobody is told of anything. */
  silent = false;
  open = true;
  events: LinkEvents | undefined;
  /** Sees, and may keep back, what the server sends; false: it is not sent, and the connection is cut. */
  filter: ((f: Frame) => "pass" | "drop" | "cut") | undefined;
  readonly client: TestSocket;

  constructor(client: TestSocket) {
    this.client = client;
  }

  send(f: Frame): void {
    if (!this.open || this.mute) return;
    const what = this.filter?.(f) ?? "pass";
    if (what === "cut") return this.cut();
    if (what === "pass") queueMicrotask(() => this.client.receive(f));
  }

  /** The server closes, with a close frame. */
  close(code: number, reason: string): void {
    if (!this.mute) queueMicrotask(() => this.client.end(code, reason, true));
    this.#end();
  }

  /** The connection breaks. Through a silent one even that does not come. */
  cut(): void {
    if (!this.silent) queueMicrotask(() => this.client.end(1006, "", false));
    this.#end();
  }

  #end(): void {
    if (!this.open) return;
    this.open = false;
    queueMicrotask(() => this.events?.gone());
  }

  fromClient(f: Frame): void {
    queueMicrotask(() => {
      if (this.open && !this.silent) this.events?.frame(f);
    });
  }

  closedByClient(code: number, reason: string): void {
    if (this.silent) return;
    queueMicrotask(() => {
      this.#end();
      this.client.end(code, reason, true);
    });
  }
}

type Handler = ((event: any) => void) | null;

/** A browser's WebSocket, as far as clients use it, without a network. */
export class TestSocket implements WebSocketLike {
  static readonly CONNECTING = 0;
  static readonly OPEN = 1;
  static readonly CLOSING = 2;
  static readonly CLOSED = 3;
  readonly CONNECTING = 0;
  readonly OPEN = 1;
  readonly CLOSING = 2;
  readonly CLOSED = 3;

  readonly url: string;
  readonly protocol = "";
  readonly extensions = "";
  #binaryType = "blob";
  readyState = 0;
  onopen: Handler = null;
  onmessage: Handler = null;
  onclose: Handler = null;
  onerror: Handler = null;
  readonly #link: Link;
  readonly #listeners: [string, (event: any) => void][] = [];
  #unsent = 0;

  /** `dial` brings the link to the server, and returns what is to be done once it is open; it rejects where there is none. */
  constructor(url: string | URL, dial: (link: Link, url: URL) => Promise<() => void>) {
    const absolute = new URL(url);
    this.url = absolute.href;
    this.#link = new Link(this);
    dial(this.#link, absolute).then(
      (start) => {
        if (this.readyState !== 0) return this.#link.cut();
        this.readyState = 1;
        this.#tell("open", {});
        start();
      },
      () => this.end(1006, "", false),
    );
  }

  get binaryType(): string {
    return this.#binaryType;
  }

  /** As in browsers, what is neither of the two is ignored. */
  set binaryType(type: string) {
    if (type === "blob" || type === "arraybuffer") this.#binaryType = type;
  }

  get bufferedAmount(): number {
    return this.#unsent;
  }

  send(data: string | ArrayBufferLike | ArrayBufferView): void {
    if (this.readyState === 0) throw new DOMException("still in CONNECTING state", "InvalidStateError");
    const frame = typeof data === "string" ? data : bytesOf(data);
    if (this.readyState > 1 || this.#link.silent) {
      this.#unsent += frame.length;
      return;
    }
    this.#link.fromClient(frame);
  }

  close(code?: number, reason = ""): void {
    if (code !== undefined && code !== 1000 && !(code >= 3000 && code < 5000))
      throw new DOMException(`the close code ${code} is not for scripts`, "InvalidAccessError");
    if (this.readyState > 1) return;
    const early = this.readyState === 0;
    this.readyState = 2;
    if (early) queueMicrotask(() => this.end(1006, "", false));
    else this.#link.closedByClient(code ?? 1005, reason);
  }

  addEventListener(type: string, listener: (event: any) => void): void {
    this.#listeners.push([type, listener]);
  }

  removeEventListener(type: string, listener: (event: any) => void): void {
    const i = this.#listeners.findIndex(([t, l]) => t === type && l === listener);
    if (i >= 0) this.#listeners.splice(i, 1);
  }

  /** @internal A frame has come. */
  receive(f: Frame): void {
    if (this.readyState !== 1) return;
    let data: unknown = f;
    if (typeof f !== "string") {
      const buffer = f.slice().buffer;
      data = this.#binaryType === "arraybuffer" ? buffer : new Blob([buffer]);
    }
    this.#tell("message", { data });
  }

  /** @internal It is over. */
  end(code: number, reason: string, wasClean: boolean): void {
    if (this.readyState === 3) return;
    this.readyState = 3;
    if (!wasClean) this.#tell("error", {});
    this.#tell("close", { code, reason, wasClean });
  }

  #tell(type: "open" | "message" | "close" | "error", more: object): void {
    const event = { type, target: this, ...more };
    this[`on${type}`]?.(event);
    for (const [t, listener] of [...this.#listeners]) if (t === type) listener(event);
  }
}

function bytesOf(data: ArrayBufferLike | ArrayBufferView): Uint8Array {
  return ArrayBuffer.isView(data)
    ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice()
    : new Uint8Array(data as ArrayBuffer).slice();
}
