import type { ConnectionState, ErrorCode } from "@holdfast/client";

/** What the light says. */
export type Light = "Live" | "Connecting…" | "Offline" | "Signed out" | "Locked";

/** How the light looks. */
export type Tone = "good" | "warn" | "bad" | "quiet";

/** What beside the connection's state decides about the light. */
export interface Around {
  /** There is a network. */
  online: boolean;
  /** Attempts that failed since it was last connected. */
  failures: number;
}

const reasons: Partial<Record<ErrorCode, string>> = {
  NETWORK: "The server can't be reached.",
  TIMEOUT: "The server did not answer in time.",
  CONNECTION_LOST: "The connection broke off.",
  NOT_CONNECTED: "There is no connection yet.",
  GOING_AWAY: "The server said that it goes away, most likely for a restart.",
  SLOW_CONSUMER: "This page took in events too slowly, so the server let it go. It catches up on the next connection.",
  RATE_LIMITED: "There were too many attempts in a short time. The server has said when to come back.",
  CONNECTION_LIMIT: "The server has all the connections it takes. It has said when to come back.",
  INTERNAL: "Something went wrong at the server.",
  TOKEN_EXPIRED: "The token had ended. A new one is fetched.",
  PERMISSION_VERSION_STALE: "Your rights have changed. A token that knows of them is fetched.",
  UNAUTHENTICATED: "The server did not take the token. Another one is tried.",
  SESSION_REVOKED: "This session was ended from another device.",
  REFRESH_REUSED: "This session was ended, because its key had been used twice.",
  SIGNED_OUT: "Nobody is signed in.",
  FORBIDDEN: "The server does not let you in.",
  ORIGIN_NOT_ALLOWED: "The server does not take connections from this address.",
  NOT_FOUND: "There is no such server at this address.",
  PROTOCOL_ERROR: "Something between this page and the server answers in its place.",
  CLOSED: "The page closed the connection when it was locked.",
};

/** Why something is as it is, in plain words. */
export const reason = (error: { code: ErrorCode; message: string }): string => reasons[error.code] ?? `${error.message}.`;

/** The light's word and colour. One failure is a hiccup, two are a network that is away. */
export function light(connection: ConnectionState, { online, failures }: Around): [Light, Tone] {
  const { state, error, final } = connection;
  if (state === "connected" && online) return ["Live", "good"];
  if (state === "closed") return ["Locked", "quiet"];
  if (state === "disconnected" && final && (!error || /^(SIGNED_OUT|SESSION_|REFRESH_)/.test(error.code)))
    return ["Signed out", "quiet"];
  if (!online || failures > 1 || state === "disconnected") return ["Offline", "bad"];
  return ["Connecting…", "warn"];
}

/** The light's first sentence of explanation. */
export function why(connection: ConnectionState, online: boolean): string {
  if (connection.connected && online) return "Changes come and go at once.";
  if (!online) return "This device has no network. What you change waits here, and is sent when there is one.";
  return connection.error ? reason(connection.error) : connection.connecting ? "The page is asking the server to let it in." : "";
}

/** `3.2 s`, `1 min 5 s`, `2 h 3 min`, in one line. */
export const duration = (ms: number): string => spoken(ms).replaceAll(" ", "\u00a0");

function spoken(ms: number): string {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return whole % 60 ? `${minutes} min ${whole % 60} s` : `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** `1 edit`, `3 edits`. */
export const count = (n: number, one: string, many = `${one}s`): string => `${n} ${n === 1 ? one : many}`;

/** `Ada`, `Ada and Bob`, `Ada, Bob and 3 others`. */
export function names(all: readonly string[]): string {
  if (all.length < 3) return all.join(" and ");
  return `${all[0]}, ${all[1]} and ${count(all.length - 2, "other")}`;
}

/** The time of day, to the second. */
export const clock = (at: number): string => new Date(at).toLocaleTimeString([], { hourCycle: "h23", hour: "2-digit", minute: "2-digit", second: "2-digit" });
