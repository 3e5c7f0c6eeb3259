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

/** Every refusal: HTTP status, WebSocket close code (0: none), and what a client does. */
export const codes = {
  UNAUTHENTICATED: [401, 4001, "refresh-once"],
  TOKEN_EXPIRED: [401, 4002, "refresh"],
  PERMISSION_VERSION_STALE: [401, 4002, "refresh"],
  SESSION_REVOKED: [401, 4001, "signed-out"],
  INVALID_CREDENTIALS: [400, 0, "stop"],
  REFRESH_REUSED: [401, 0, "signed-out"],
  CSRF_MISMATCH: [403, 0, "new-csrf"],
  ORIGIN_NOT_ALLOWED: [403, 0, "stop"],
  FORBIDDEN: [403, 4003, "stop"],
  NOT_FOUND: [404, 0, "stop"],
  CONFLICT: [409, 0, "stop"],
  INVALID_ARGUMENT: [400, 0, "stop"],
  RATE_LIMITED: [429, 4008, "wait"],
  MESSAGE_TOO_LARGE: [413, 0, "stop"],
  PROTOCOL_ERROR: [400, 1002, "stop"],
  SLOW_CONSUMER: [0, 4009, "reconnect"],
  CONNECTION_LIMIT: [503, 4010, "wait"],
  GOING_AWAY: [503, 1001, "reconnect"],
  INTERNAL: [500, 1011, "wait"],
} as const satisfies Record<string, readonly [status: number, close: number, action: Action]>;

/** A code of docs/protocol.md §2. */
export type Code = keyof typeof codes;
