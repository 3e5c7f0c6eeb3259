import type { Platform } from "../platform.js";
import type { SocketConfig, TokenSource } from "../types.js";

/** What a socket is made of. Nothing of it is used before the first `connect`. */
export interface SocketDeps {
  /** The server's address, asked for at each attempt: a page's origin is not known while it is rendered on a server. */
  url: () => string;
  config: SocketConfig;
  /** Absent: CONNECT carries no token, as where a cookie tells who it is. */
  source: TokenSource | undefined;
  platform: Platform;
  /** Polling requests carry cookies to other origins. A WebSocket's handshake does so by itself. */
  withCredentials: boolean;
}
