import { HoldfastError } from "../errors.js";
import { until } from "../abort.js";
import type { CsrfConfig } from "../types.js";

/** A CSRF token, got when it is first needed (docs/protocol.md §3). */
export class Csrf {
  readonly header: string;
  readonly #config: CsrfConfig;
  readonly #load: (path: string) => Promise<{ res: Response; text: string }>;
  readonly #cookies: () => string;
  #token: string | undefined;
  #loading: Promise<string> | undefined;

  constructor(config: CsrfConfig, load: (path: string) => Promise<{ res: Response; text: string }>, cookies: () => string) {
    this.header = config.headerName ?? "X-CSRF-Token";
    this.#config = config;
    this.#load = load;
    this.#cookies = cookies;
  }

  /** The token; another one than that which was refused. One call gets it for all. */
  async get(signal?: AbortSignal | null, refused?: string): Promise<string> {
    if (this.#token && this.#token !== refused) return this.#token;
    this.#loading ??= this.#fetch().finally(() => (this.#loading = undefined));
    return until(this.#loading, signal);
  }

  /** Keeps the token that an answer brings: those to sign-in and sign-out do, and refusals. */
  learn(res: Response): void {
    this.#token = res.headers.get(this.header) ?? this.#token;
  }

  async #fetch(): Promise<string> {
    const path = this.#config.endpoint ?? "/api/auth/csrf";
    const { res, text } = await this.#load(path);
    let token = res.headers.get(this.header);
    try {
      token ||= JSON.parse(text).csrfToken;
    } catch {
      // no JSON: the cookie may have it
    }
    token ||= `; ${this.#cookies()}`.split(`; ${this.#config.cookieName ?? "csrf-token"}=`)[1]?.split(";")[0] ?? null;
    if (!token) throw new HoldfastError("PROTOCOL_ERROR", `${path} brought no CSRF token by header, body or cookie`);
    return (this.#token = token);
  }
}
