import type { Code } from "../codes.js";
import { Refusal } from "./refusal.js";

/** An answer that is given in place of the server's own. */
export interface Failure {
  /** Default: the one of `code`, or 503. */
  status?: number;
  /** Named in a body as Holdfast's errors have. Absent: a page without one, as of a proxy. */
  code?: Code;
  /** Milliseconds; goes into the header in whole seconds. */
  retryAfter?: number;
  /** How many requests are answered so. Default: any number. */
  times?: number;
  /** For how many milliseconds. Default: until `heal`. */
  for?: number;
}

/** One request that came in. */
export interface LoggedRequest {
  /** Epoch milliseconds. */
  at: number;
  method: string;
  path: string;
  /** The answer's; 101 for a WebSocket, 0 for none yet, or a cut one. */
  status: number;
  /** It asked for a new connection. */
  handshake: boolean;
}

/** A request whose connection was cut: `fetch` rejects as it does without a network. */
export class Cut extends Error {}

type Kind = "slow" | "fail" | "dropBefore" | "dropAfter" | "slowAfter";

interface Rule {
  kind: Kind;
  path: string;
  left: number; // requests
  until: number; // epoch ms
  delay: number; // ms
  failure: Failure;
}

/** Whether a path, a folder that ends in a slash, or "" for all, covers what was asked for. */
export function covers(path: string, requested: string): boolean {
  return path === "" || path === requested || (path.endsWith("/") && requested.startsWith(path));
}

/** What goes wrong with requests. */
export class Faults {
  readonly log: LoggedRequest[] = [];
  stopped = false;
  readonly #now: () => number;
  #rules: Rule[] = [];
  #waiting = new Set<() => void>();

  constructor(now: () => number) {
    this.#now = now;
  }

  add(kind: Kind, path: string, more: Partial<Rule> = {}): void {
    this.#rules.push({ kind, path, left: Infinity, until: Infinity, delay: 0, failure: {}, ...more });
  }

  fail(path: string, failure: Failure): void {
    this.add("fail", path, {
      failure,
      left: failure.times || Infinity,
      until: failure.for ? this.#now() + failure.for : Infinity,
    });
  }

  heal(): void {
    this.#rules = [];
  }

  /** The first rule of a kind for a path, used once. */
  take(kind: Kind, path: string): Rule | undefined {
    const rule = this.#rules.find((r) => r.kind === kind && r.left > 0 && covers(r.path, path) && this.#now() < r.until);
    if (rule) rule.left--;
    return rule;
  }

  arrive(method: string, path: string, handshake: boolean): LoggedRequest {
    if (this.stopped) throw new Cut();
    const entry = { at: this.#now(), method, path, status: 0, handshake };
    this.log.push(entry);
    return entry;
  }

  count(matches: (r: LoggedRequest) => boolean): number {
    return this.log.filter(matches).length;
  }

  /** Waits; a server that stops meanwhile, or a caller who leaves, cuts it short. */
  wait(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (settle: () => void) => () => {
        clearTimeout(timer);
        this.#waiting.delete(cut);
        signal?.removeEventListener("abort", cut);
        settle();
      };
      const cut = end(() => reject(new Cut()));
      const timer = setTimeout(end(resolve), ms);
      this.#waiting.add(cut);
      signal?.addEventListener("abort", cut);
    });
  }

  /** Ends what is slow, and lets nothing more in. */
  stop(): void {
    this.stopped = true;
    for (const cut of [...this.#waiting]) cut();
  }

  /**
   * What is done to a request: the faults of its path around the work. Cut is
   * thrown where its connection ends without an answer.
   */
  async around(
    request: { method: string; path: string; handshake: boolean; signal?: AbortSignal | undefined },
    work: () => Promise<Answer>,
  ): Promise<Answer> {
    const { path, signal } = request;
    const entry = this.arrive(request.method, path, request.handshake);
    const slow = this.take("slow", path);
    if (slow) await this.wait(slow.delay, signal);
    if (this.take("dropBefore", path)) throw new Cut();
    const failed = this.take("fail", path);
    if (failed) {
      const answer = failureAnswer(failed.failure);
      entry.status = answer.status;
      return answer;
    }
    const dropped = this.take("dropAfter", path);
    const late = this.take("slowAfter", path);
    const answer = await work();
    if (dropped) throw new Cut();
    if (late) await this.wait(late.delay, signal);
    if (this.stopped) throw new Cut();
    entry.status = answer.status;
    return answer;
  }
}

/** What a request is answered. */
export interface Answer {
  status: number;
  headers: Record<string, string>;
  body: string;
  /** Set-Cookie lines. */
  cookies: string[];
}

/** An answer in JSON. */
export function jsonAnswer(value: unknown, status = 200, headers: Record<string, string> = {}): Answer {
  return { status, headers: { "Content-Type": "application/json", ...headers }, body: JSON.stringify(value), cookies: [] };
}

/** The answer that says why not. */
export function refusalAnswer(r: Refusal, credential = false, requestId = "r_test"): Answer {
  const { message, ...rest } = r.payload();
  const headers: Record<string, string> = {};
  if (rest.retryAfter) headers["Retry-After"] = String(rest.retryAfter);
  if (r.status === 401) headers["WWW-Authenticate"] = credential ? 'Bearer error="invalid_token"' : "Bearer";
  return jsonAnswer({ error: message, requestId, ...rest }, r.status, headers);
}

function failureAnswer(f: Failure): Answer {
  const retryAfter = Math.ceil((f.retryAfter ?? 0) / 1000);
  if (f.code) {
    const refusal = new Refusal(f.code, undefined, { retryAfter });
    return { ...refusalAnswer(refusal), status: f.status || refusal.status };
  }
  return {
    status: f.status || 503,
    headers: { "Content-Type": "text/html", ...(retryAfter && { "Retry-After": String(retryAfter) }) },
    body: "<h1>Failed</h1>\n",
    cookies: [],
  };
}
