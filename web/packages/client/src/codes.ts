// Code generated from code.go by "go test -run TestTypeScriptCodes -update ."; DO NOT EDIT.

/** What a client does after a refusal. */
export type Action =
  | "refresh-once"
  | "refresh"
  | "signed-out"
  | "stop"
  | "new-csrf"
  | "wait"
  | "reconnect";

/** Every refusal: what a client does, and the WebSocket close code (absent: none). */
export const codes = {
  UNAUTHENTICATED: ["refresh-once", 4001],
  TOKEN_EXPIRED: ["refresh", 4002],
  PERMISSION_VERSION_STALE: ["refresh", 4002],
  SESSION_REVOKED: ["signed-out", 4001],
  INVALID_CREDENTIALS: ["stop"],
  REFRESH_REUSED: ["signed-out"],
  CSRF_MISMATCH: ["new-csrf"],
  ORIGIN_NOT_ALLOWED: ["stop"],
  FORBIDDEN: ["stop", 4003],
  NOT_FOUND: ["stop"],
  CONFLICT: ["stop"],
  INVALID_ARGUMENT: ["stop"],
  RATE_LIMITED: ["wait", 4008],
  MESSAGE_TOO_LARGE: ["stop"],
  PROTOCOL_ERROR: ["stop", 1002],
  SLOW_CONSUMER: ["reconnect", 4009],
  CONNECTION_LIMIT: ["wait", 4010],
  GOING_AWAY: ["reconnect", 1001],
  INTERNAL: ["wait", 1011],
} as const satisfies Record<string, readonly [action: Action, close?: number]>;

/** A code of docs/protocol.md §2. */
export type Code = keyof typeof codes;

/** The HTTP status of each (0: none). */
export const statuses: Record<Code, number> = {
  UNAUTHENTICATED: 401,
  TOKEN_EXPIRED: 401,
  PERMISSION_VERSION_STALE: 401,
  SESSION_REVOKED: 401,
  INVALID_CREDENTIALS: 400,
  REFRESH_REUSED: 401,
  CSRF_MISMATCH: 403,
  ORIGIN_NOT_ALLOWED: 403,
  FORBIDDEN: 403,
  NOT_FOUND: 404,
  CONFLICT: 409,
  INVALID_ARGUMENT: 400,
  RATE_LIMITED: 429,
  MESSAGE_TOO_LARGE: 413,
  PROTOCOL_ERROR: 400,
  SLOW_CONSUMER: 0,
  CONNECTION_LIMIT: 503,
  GOING_AWAY: 503,
  INTERNAL: 500,
};
