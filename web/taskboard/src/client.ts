import { createRealtimeClient, type RealtimeClient } from "@holdfast/client";
import { idleMinutes } from "./settings.js";
import type { BoardEvents } from "./types.js";

/** The page's client: sessions, calls, and the connection with its offline queue. */
export type Client = RealtimeClient<BoardEvents>;

/**
 * Makes the one client of the page. The refresh token is a cookie that no
 * script can read; the access token is in memory alone. What is done without a
 * connection waits in IndexedDB, for all tabs together.
 */
export function makeClient(): Client {
  return createRealtimeClient<BoardEvents>({
    auth: { cookie: true, inactivityTimeout: idleMinutes() * 60_000 },
    socket: { queue: { name: "taskboard" } },
  });
}
