import { codes, type Code } from "../codes.js";
import { HoldfastError } from "../errors.js";

/** Codes for answers that name none: a proxy's, or another server's. */
const byStatus = (status: number): Code =>
  (
    ({
      401: "UNAUTHENTICATED",
      403: "FORBIDDEN",
      404: "NOT_FOUND",
      408: "INTERNAL", // worth another try, as 425
      409: "CONFLICT",
      410: "NOT_FOUND",
      413: "MESSAGE_TOO_LARGE",
      425: "INTERNAL",
      429: "RATE_LIMITED",
      503: "GOING_AWAY",
    }) as Record<number, Code>
  )[status] ?? (status >= 400 && status < 500 ? "INVALID_ARGUMENT" : "INTERNAL");

/** What of a refusal is not in its body. */
export interface Refused {
  what: string;
  /** Only a code that the answer names counts, and 400, 401 and 429: of the rest a proxy may be the author. */
  strict?: boolean | undefined;
  now: number;
}

/** Reads an error answer: the body of docs/protocol.md §2, or whatever a proxy says. */
export function refusal(res: { status: number; headers: Headers }, text: string, { what, strict, now }: Refused): HoldfastError {
  const { status, headers } = res;
  let body: any;
  try {
    body = JSON.parse(text);
  } catch {
    // a page
  }
  body = Object(body);
  let code = byStatus(status);
  if (Object.hasOwn(codes, body.code)) code = body.code;
  else if (strict && code !== "RATE_LIMITED") code = status === 400 || status === 401 ? "UNAUTHENTICATED" : "INTERNAL";
  const header = headers.get("Retry-After");
  // Seconds, or a date (RFC 9110 §10.2.3); an hour at most.
  const after = Math.min(+body.retryAfter || +header! || (Date.parse(header!) - now) / 1000, 3600);
  const message = [body.error, body.message].find((m) => m && typeof m === "string") ?? `${what} was answered ${status}`;
  const requestId = body.requestId ?? headers.get("X-Request-Id");
  return new HoldfastError(code, message, {
    status,
    details: body.details,
    ...(requestId && { requestId }),
    ...(after > 0 && { retryAfter: after }),
  });
}
