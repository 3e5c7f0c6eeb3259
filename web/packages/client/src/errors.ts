import { codes, type Code } from "./codes.js";

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
  readonly code: ErrorCode;
  /** HTTP status; 0 for none. */
  readonly status: number;
  readonly requestId?: string;
  /** Seconds. */
  readonly retryAfter?: number;
  readonly details?: unknown;
  /** Trying again is no use. Default: what the table of codes says; false for what is not in it. */
  readonly final: boolean;

  constructor(
    code: ErrorCode,
    message: string,
    more: { status?: number; requestId?: string; retryAfter?: number; details?: unknown; final?: boolean; cause?: unknown } = {},
  ) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.code = code;
    this.status = more.status ?? 0;
    if (more.requestId !== undefined) this.requestId = more.requestId;
    if (more.retryAfter !== undefined) this.retryAfter = more.retryAfter;
    if (more.details !== undefined) this.details = more.details;
    this.final = more.final ?? !/^(wait|reconnect)$/.test(codes[code as Code]?.[2] ?? "wait");
  }
}

/** There is no token, and none can be had. */
export function signedOut(): HoldfastError {
  return new HoldfastError("SIGNED_OUT", "Nobody is signed in", { final: true });
}
