import { codes, type Code } from "../codes.js";
import { HoldfastError, local } from "../errors.js";

/** Whether a value that came from outside is a code of the table. */
export const known = (code: unknown): code is Code => typeof code === "string" && Object.hasOwn(codes, code);

/** A refusal that came from the server; `more` is whatever object carried it. */
export function refusal(code: Code, message: unknown, more?: any): HoldfastError {
  const wait = +more?.retryAfter;
  return new HoldfastError(code, typeof message === "string" ? message : code, {
    retryAfter: wait > 0 ? Math.min(wait, 3600) : undefined, // nobody is sent away for longer than an hour
    details: more?.details,
  });
}

/**
 * The error of a close frame. Undefined: it says nothing about why. Where
 * several codes share a number, the first one's action is the milder.
 */
export function closeError(number: number, reason: string): HoldfastError | undefined {
  const code = known(reason)
    ? reason
    : number === 1009
      ? "MESSAGE_TOO_LARGE"
      : (Object.keys(codes) as Code[]).find((c) => codes[c][1] === number && number); // 0 stands for none
  return code && refusal(code, `closed (${number})`);
}

/** The error of a CONNECT_ERROR packet; other servers than Holdfast are known by the words they use. */
export function connectError(data: any): HoldfastError {
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
}

/** The error in an ack, or wherever a code and a message come together; a server may have codes of its own. */
export const refusalOf = (e: any): HoldfastError =>
  known(e?.code) ? refusal(e.code, e.message, e) : local(e?.code ?? "LEFT", `${e?.message}`, true);

/** Takes the wrap `{ok, data | error}` off an ack; any other answer is its first argument. */
export function unwrap([answer]: any[]): any {
  if (answer && Object.keys(answer).length === 2) {
    if (answer.ok === true && "data" in answer) return answer.data;
    if (answer.ok === false && answer.error?.code) throw refusalOf(answer.error);
  }
  return answer;
}
