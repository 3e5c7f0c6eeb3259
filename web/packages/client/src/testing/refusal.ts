import { codes, statuses, type Code } from "../codes.js";

const sentences: Record<Code, string> = {
  UNAUTHENTICATED: "Unauthorized",
  TOKEN_EXPIRED: "Unauthorized: token expired",
  PERMISSION_VERSION_STALE: "Unauthorized: permissions changed, refresh the token",
  SESSION_REVOKED: "Unauthorized: session revoked",
  INVALID_CREDENTIALS: "Wrong e-mail address or password",
  REFRESH_REUSED: "Unauthorized: refresh token was already used",
  CSRF_MISMATCH: "CSRF token missing or wrong",
  ORIGIN_NOT_ALLOWED: "This origin is not allowed",
  FORBIDDEN: "Not allowed",
  NOT_FOUND: "Not found",
  CONFLICT: "Conflicts with the present state",
  INVALID_ARGUMENT: "Invalid request",
  RATE_LIMITED: "Too many requests",
  MESSAGE_TOO_LARGE: "The message is too large",
  PROTOCOL_ERROR: "The message breaks the protocol",
  SLOW_CONSUMER: "The connection reads too slowly",
  CONNECTION_LIMIT: "Too many connections",
  GOING_AWAY: "The server is going away",
  INTERNAL: "Internal error",
};

/** What a handler of a TestServer throws to refuse; any other error is INTERNAL. */
export class Refusal extends Error {
  readonly code: Code;
  /** Seconds. */
  readonly retryAfter: number | undefined;
  readonly details: unknown;

  /** The message is for people; the default is the code's sentence. */
  constructor(code: Code, message?: string, more: { retryAfter?: number; details?: unknown } = {}) {
    super(message ?? sentences[code] ?? sentences.INTERNAL);
    this.code = code;
    this.retryAfter = more.retryAfter;
    this.details = more.details;
  }

  /** The HTTP status that goes with the code. */
  get status(): number {
    return statuses[this.code] || 500;
  }

  /** The WebSocket close code that goes with the code. */
  get closeCode(): number {
    return codes[this.code]?.[1] || 1011;
  }

  /** Trying again is no use: what the client does after it is to stop (docs/protocol.md §2). */
  get final(): boolean {
    return codes[this.code]?.[0] === "stop";
  }

  /** The `error` of an ack, and what `auth:closing` says. */
  payload(): { message: string; code: Code; retryAfter?: number; details?: unknown } {
    return {
      message: this.code === "INTERNAL" ? sentences.INTERNAL : this.message,
      code: this.code,
      ...(this.retryAfter && { retryAfter: Math.ceil(this.retryAfter) }),
      ...(this.details !== undefined && { details: this.details }),
    };
  }
}

/** What was thrown, as a refusal. */
export function toRefusal(e: unknown): Refusal {
  return e instanceof Refusal ? e : new Refusal("INTERNAL");
}

/**
 * The `message` of a refused CONNECT: one about a credential says
 * "Unauthorized", and no other has a word by which clients take it for one
 * (docs/protocol.md §4).
 */
export function connectMessage(r: Refusal): string {
  const { message } = r.payload();
  if (r.status === 401) return message.includes("Unauthorized") ? message : "Unauthorized: " + message;
  return /unauthorized|jwt|token/i.test(message) ? (sentences[r.code] ?? sentences.INTERNAL) : message;
}
