import type { Action } from "../codes.js";
import { actionOf, local, type HoldfastError } from "../errors.js";
import type { Platform } from "../platform.js";
import { part } from "../surroundings.js";
import type { Frame } from "./parser.js";
import { closeError } from "../refusal.js";

/** One connection of a transport, in frames. Neither method throws for a connection that is gone. */
export interface Wire {
  send(frames: Frame[]): void;
  /** What was sent goes out first. Nothing is told afterwards. */
  close(): void;
}

/** How a transport tells of its end; `uncoded`: what refused it may not have been the server. */
export type Closed = (error: HoldfastError, action: Action, uncoded?: boolean) => void;

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
  const nothing = () => {};
  ws.binaryType = "arraybuffer";
  ws.onmessage = (e) => {
    open = true;
    frame(e.data);
  };
  ws.onerror = nothing; // onclose follows
  ws.onclose = (e) => {
    const error = closeError(e.code, e.reason);
    if (error) closed(error, actionOf(error));
    else closed(local(open ? "CONNECTION_LOST" : "NETWORK", `no connection (${e.code})`), "reconnect");
  };
  return {
    send(frames) {
      for (const f of frames) ws.send(f as string); // Blobs too, which the type leaves out
    },
    close() {
      ws.onmessage = ws.onclose = nothing;
      ws.close(1000);
    },
  };
}
