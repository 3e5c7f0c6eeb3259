import { codes, type Code } from "./codes.js";
import { HoldfastError, local } from "./errors.js";

/** Whether a value that came from outside is a code of the table. */
export const known = (code: unknown): code is Code => Object.keys(codes).includes(code as Code);

/** A refusal that came from the server; `from` is whatever object carried it, `more` what HTTP says beside. */
export const refusal = (
  code: Code,
  message: unknown,
  { details, retryAfter }: any = {},
  more?: { status: number; requestId: string },
): HoldfastError =>
  new HoldfastError(code, message && typeof message === "string" ? message : code, {
    ...more,
    details,
    retryAfter: retryAfter > 0 ? Math.min(retryAfter, 3600) : undefined, // nobody is sent away for longer than an hour
  });

/**
 * Reads an error answer: the body of docs/protocol.md §2, or whatever a proxy
 * says. `read` tells what a status means without a code. The client's own calls
 * are strict: only 400, 401 and 429 count, as of the rest a proxy may be the author.
 */
export const answered = (
  { status, headers }: { status: number; headers: Headers },
  text: string,
  what: string,
  now: number,
  read = (status: number): Code =>
    status === 429 ? "RATE_LIMITED" : status === 400 || status === 401 ? "UNAUTHENTICATED" : "INTERNAL",
): HoldfastError => {
  const body = Object(parse(text));
  const header = headers.get("Retry-After")!;
  return refusal(
    known(body.code) ? body.code : read(status),
    [body.error, body.message].find((m) => m && typeof m === "string") ?? `${what} was answered ${status || "by a redirect"}`,
    // Seconds, or a date (RFC 9110 §10.2.3).
    { ...body, retryAfter: body.retryAfter || +header || (Date.parse(header) - now) / 1000 },
    { status, requestId: body.requestId ?? headers.get("X-Request-Id") },
  );
};

/** What a text says; undefined for what is no JSON. */
export const parse = (text: string): any => {
  try {
    return JSON.parse(text);
  } catch {
    return;
  }
};

/**
 * The error of a close frame. Undefined: it says nothing about why. Where
 * several codes share a number, the first one's action is the milder.
 */
export const closeError = (number: number, reason: string): HoldfastError | undefined => {
  const code = known(reason)
    ? reason
    : number === 1009
      ? "MESSAGE_TOO_LARGE"
      : (Object.keys(codes) as Code[]).find((c) => codes[c][1] === number);
  return code && refusal(code, `closed (${number})`);
};

/** The error of a CONNECT_ERROR packet; other servers than Holdfast are known by the words they use. */
export const connectError = (data: any): HoldfastError => {
  const message = data?.message ?? data;
  const details = data?.data;
  const code = known(details?.code)
    ? details.code
    : message === "Invalid namespace"
      ? "NOT_FOUND"
      : /expired/i.test(message)
        ? "TOKEN_EXPIRED"
        : /unauth|jwt|token|authentication/i.test(message)
          ? "UNAUTHENTICATED"
          : "FORBIDDEN";
  return refusal(code, message, { ...details, details });
};

/** The error in an ack, or wherever a code and a message come together; a server may have codes of its own. */
export const refusalOf = (e: any): HoldfastError =>
  known(e?.code) ? refusal(e.code, e.message, e) : local(e?.code ?? "LEFT", `${e?.message}`, true);

/** Takes the wrap `{ok, data | error}` off an ack; any other answer is its first argument. */
export const unwrap = ([answer]: any[]): any => {
  if (answer && Object.keys(answer).length === 2) {
    if (answer.ok === true && "data" in answer) return answer.data;
    if (answer.ok === false && answer.error?.code) throw refusalOf(answer.error);
  }
  return answer;
};
