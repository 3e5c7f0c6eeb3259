import type { Action } from "../codes.js";
import { actionOf, local, type HoldfastError } from "../errors.js";
import type { Platform } from "../platform.js";
import { part } from "../surroundings.js";
import type { Frame } from "./parser.js";
import { closeError } from "../refusal.js";

/** One connection of a transport, in frames. Neither method throws for a connection that is gone. Nobody listens to one that was closed. */
export interface Wire {
  send(frames: Frame[]): void;
  /** What was sent goes out first. */
  close(): void;
}

/** How a transport tells of its end. Without an action it is tried again; `uncoded`: what refused it may not have been the server. */
export type Closed = (error: HoldfastError, action?: Action, uncoded?: boolean) => void;

/** What a transport is opened with. */
export interface WireOptions {
  url: URL;
  platform: Platform;
  credentials: RequestCredentials;
  frame: (frame: string | ArrayBuffer) => void;
  closed: Closed;
}

/** Opens a WebSocket. Why one is refused is not told to scripts. */
export function openWebSocket({ url, platform, frame, closed }: WireOptions): Wire {
  const ws = new (part(platform, "WebSocket")!)(url.href.replace(/^http/, "ws"));
  let open: boolean;
  ws.binaryType = "arraybuffer";
  ws.onmessage = (e) => {
    open = true;
    frame(e.data);
  };
  ws.onerror = () => {}; // onclose follows
  ws.onclose = ({ code, reason }) => {
    const error = closeError(code, reason);
    closed(error ?? local(open ? "CONNECTION_LOST" : "NETWORK", `closed (${code})`), error && actionOf(error));
  };
  return {
    send(frames) {
      for (const f of frames) ws.send(f as string); // Blobs too, which the type leaves out
    },
    close: () => ws.close(1000),
  };
}
