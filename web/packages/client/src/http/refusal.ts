import { codes, type Code } from "../codes.js";
import { HoldfastError } from "../errors.js";

/** For answers that name no code: a proxy's, or another server's. */
const byStatus: Record<number, Code> = {
  401: "UNAUTHENTICATED",
  403: "FORBIDDEN",
  404: "NOT_FOUND",
  409: "CONFLICT",
  413: "MESSAGE_TOO_LARGE",
  429: "RATE_LIMITED",
  503: "GOING_AWAY",
};

/**
 * Reads an error answer: the body of docs/protocol.md §2, or whatever a proxy
 * says. Strict: only a code that it names counts, and 400, 401 and 429; of the
 * rest a proxy may be the author.
 */
export function refusal(
  res: { status: number; headers: Headers },
  text: string,
  what: string,
  now: number,
  strict?: boolean,
): HoldfastError {
  const { status, headers } = res;
  let body: any;
  try {
    body = JSON.parse(text);
  } catch {
    // a page
  }
  body = Object(body);
  // 408 and 425 are worth another try.
  let code =
    byStatus[status] ??
    (status < 400 || status > 499 || /408|425/.test(String(status)) ? "INTERNAL" : "INVALID_ARGUMENT");
  if (Object.hasOwn(codes, body.code)) code = body.code;
  else if (strict && status !== 429) code = status === 400 || status === 401 ? "UNAUTHENTICATED" : "INTERNAL";
  const header = headers.get("Retry-After")!;
  // Seconds, or a date (RFC 9110 §10.2.3); an hour at most.
  const after = Math.min(body.retryAfter || +header || (Date.parse(header) - now) / 1000, 3600);
  const message = [body.error, body.message].find((m) => m && typeof m === "string");
  return new HoldfastError(
    code,
    message ?? `${what} was answered ${status || "by a redirect: call the final address"}`,
    {
      status,
      details: body.details,
      requestId: body.requestId ?? headers.get("X-Request-Id"),
      retryAfter: after > 0 ? after : undefined,
    },
  );
}
