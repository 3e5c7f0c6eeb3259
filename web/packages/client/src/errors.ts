import { codes, type Action, type Code } from "./codes.js";

/** A code of the server, or what went wrong on this side of it. */
export type ErrorCode =
  | Code
  | "NETWORK" // no answer
  | "TIMEOUT"
  | "CANCELED" // by an AbortSignal
  | "SIGNED_OUT" // there is no token
  | "NOT_CONNECTED"
  | "CONNECTION_LOST" // between send and ack
  | "CLOSED"
  | "LEFT" // the room was left
  | "QUEUE_FULL";

/** The one error of this package: of HTTP answers, acks, ends of connections, and of this side. */
export class HoldfastError extends Error {
  override readonly name = "HoldfastError";
  declare readonly code: ErrorCode;
  /** HTTP status; 0 for none. */
  declare readonly status: number;
  declare readonly requestId?: string;
  /** Seconds. */
  declare readonly retryAfter?: number;
  declare readonly details?: unknown;
  /** Trying again is no use. Default: what the table of codes says; false for what is not in it. */
  declare readonly final: boolean;

  constructor(
    code: ErrorCode,
    message: string,
    {
      cause,
      final = !/^(wait|rec)/.test(actionOf({ code })),
      ...more
    }: {
      status?: number | undefined;
      requestId?: string | undefined;
      retryAfter?: number | undefined;
      details?: unknown;
      final?: boolean | undefined;
      cause?: unknown;
    } = {},
  ) {
    super(message, (cause && { cause }) as ErrorOptions);
    Object.assign(this, { status: 0, final }, there(more), { code });
  }
}

/** What of an object is there. */
export const there = (o: object = {}): any => Object.fromEntries(Object.entries(o).filter(([, v]) => v != null));

/** What the table of codes says about an error: `wait` for those of this side. */
export const actionOf = ({ code }: { code: ErrorCode }): Action => codes[code as Code]?.[0] ?? "wait";

/** An error that this side found; without a message it says what its code does. */
export const local = (
  code: ErrorCode,
  message = code.toLowerCase().replace(/_/g, " "),
  final?: boolean,
  cause?: unknown,
): HoldfastError => new HoldfastError(code, message, { final, cause });

/** A part of this package that is loaded when it is needed can't be, as after a deployment that took it away. */
export const unloaded = (cause: unknown): HoldfastError => local("NETWORK", "A part of the client can't be loaded", false, cause);

/** There is no token, and none can be had; or it is another user's by now. */
export const signedOut = (final = true): HoldfastError =>
  local("SIGNED_OUT", final ? "Nobody is signed in" : "Another user signed in", final);
