/**
 * What the client takes from its surroundings: the browser's globals, or what
 * a test puts in their place. Absent in a surrounding (server rendering, an old
 * browser, storage that the user has blocked): the client does without.
 */
export interface Platform {
  /** Default: the global `fetch`, called without a receiver. */
  fetch?: typeof fetch;
  /** Default: the global `WebSocket`. */
  WebSocket?: WebSocketConstructor;
  /** Default: `window.localStorage`. Reading it may throw, as in browsers. */
  localStorage?: StorageLike;
  /** Default: `window.sessionStorage`. */
  sessionStorage?: StorageLike;
  /** Default: the global `BroadcastChannel`. */
  BroadcastChannel?: new (name: string) => Channel;
  /** Default: `navigator.locks`. */
  locks?: Locks;
  /** Default: the global `indexedDB`. */
  indexedDB?: IDBFactory;
  /**
   * Where `storage`, `visibilitychange`, `online`, `pageshow` and the user's
   * input are listened for. Default: `window`.
   */
  events?: Pick<EventTarget, "addEventListener" | "removeEventListener">;
  /** The page's cookies that scripts may read, as one text. Default: `document.cookie`. */
  cookie?: () => string;
  /** Wall clock, epoch milliseconds. Default: `Date.now`. */
  now?: () => number;
  /** From 0 up to, not including, 1. Default: `Math.random`. */
  random?: () => number;
}

/** The part of Storage that is used. It answers at once: where a storage is asynchronous, give it a copy in memory. */
export interface StorageLike {
  getItem(key: string): string | null;
  /** Throws where it is full. */
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

/** The part of BroadcastChannel that is used. */
export interface Channel {
  postMessage(message: unknown): void;
  close(): void;
  onmessage: ((event: { data: unknown }) => void) | null;
}

/** The part of `navigator.locks` that is used. */
export interface Locks {
  request<T>(
    name: string,
    options: { signal?: AbortSignal; ifAvailable?: boolean },
    run: (lock: unknown) => Promise<T>,
  ): Promise<T>;
}

/** The part of WebSocket that is used. */
export interface WebSocketLike {
  binaryType: string;
  readonly readyState: number;
  readonly bufferedAmount: number;
  send(data: string | ArrayBufferLike | ArrayBufferView): void;
  close(code?: number, reason?: string): void;
  onopen: ((event: any) => void) | null;
  onmessage: ((event: { data: any }) => void) | null;
  onclose: ((event: { code: number; reason: string; wasClean: boolean }) => void) | null;
  onerror: ((event: any) => void) | null;
}

/** Makes a WebSocket, as the global class does. */
export type WebSocketConstructor = new (url: string) => WebSocketLike;
