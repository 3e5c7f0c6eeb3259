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
      ...more
    }: {
      status?: number;
      requestId?: string;
      retryAfter?: number;
      details?: unknown;
      final?: boolean;
      cause?: unknown;
    } = {},
  ) {
    super(message, cause === undefined ? undefined : { cause });
    Object.assign(this, { status: 0, final: !/^(wait|rec)/.test(actionOf({ code })) }, more, {
      code,
    });
  }
}

/** What the table of codes says about an error: `wait` for those of this side. */
export const actionOf = ({ code }: { code: ErrorCode }): Action => codes[code as Code]?.[2] ?? "wait";

/** There is no token, and none can be had. */
export function signedOut(): HoldfastError {
  return new HoldfastError("SIGNED_OUT", "Nobody is signed in", { final: true });
}
