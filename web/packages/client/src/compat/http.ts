import { HoldfastError } from "../errors.js";
import { cookies as readable } from "../http/csrf.js";
import { openHttp } from "../http/http.js";
import { kit } from "../http/own.js";
import { sourceOf, type RefreshManager } from "./refresh.js";
import type { TokenManager } from "./token.js";
import type { CsrfConfig, HttpRequestOptions } from "./types.js";

type Options<TBody = unknown> = Omit<HttpRequestOptions<TBody>, "path" | "method" | "body">;

async function parse(response: Response): Promise<any> {
  if (response.status === 204) return undefined;
  const text = await response.text();
  return /application\/json/.test(response.headers.get("Content-Type") ?? "") ? JSON.parse(text) : text;
}

/**
 * HTTP calls with token, CSRF token and cookies, which go to the origin of
 * `baseUrl` alone. Answers that are not 2xx reject with an Error that has
 * `status`, `code` and `payload`.
 */
export class HttpClient {
  readonly #base: string;
  readonly #tokens: TokenManager;
  readonly #refresh: RefreshManager;
  readonly #onUnauthorized: (() => void) | undefined;
  readonly #withCredentials: boolean;
  readonly #csrf: CsrfConfig | undefined;
  #guard: string | null = null;
  #guarding: Promise<void> | undefined;

  constructor(
    baseUrl: string,
    tokenManager: TokenManager,
    refreshManager: RefreshManager,
    onUnauthorized?: () => void,
    withCredentials = true,
    csrfConfig?: CsrfConfig,
  ) {
    this.#base = baseUrl;
    this.#tokens = tokenManager;
    this.#refresh = refreshManager;
    this.#onUnauthorized = onUnauthorized;
    this.#withCredentials = withCredentials;
    this.#csrf = csrfConfig;
  }

  /** Gets a CSRF token, where `csrf` is enabled and there is none yet. */
  async prefetchCsrf(): Promise<void> {
    if (this.#csrf?.enabled) await this.#token();
  }

  async request<TResponse = unknown, TBody = unknown>(options: HttpRequestOptions<TBody>): Promise<TResponse> {
    const { method = "GET", retryOnAuth = true, signal } = options;
    const url = new URL(options.path, this.#base);
    for (const [name, value] of Object.entries(options.query ?? {})) if (value != null) url.searchParams.set(name, String(value));
    try {
      let token = await this.#tokens.getAccessToken();
      let response = await this.#send(url, method, options, token, retryOnAuth);
      // A mutation that was refused has had no effect.
      if (response.status === 403 && /CSRF_MISMATCH/.test(await response.clone().text()) && this.#csrf?.fetchEndpoint) {
        this.#guard = null;
        token = this.#tokens.getAccessTokenSync() ?? token;
        response = await this.#send(url, method, options, token, retryOnAuth, true);
      }
      if (response.status === 401 && retryOnAuth) {
        // Whoever had no token may have a cookie that is worth one.
        token = token ? null : await this.#refresh.refreshAccessToken();
        if (token) response = await this.#send(url, method, options, token, false);
        else if (!this.#refresh.enabled) this.#onUnauthorized?.();
      }
      if (response.ok) return await parse(response);
      const payload = await parse(response).catch(() => undefined);
      const { message, error, code } = Object(payload);
      throw Object.assign(new Error(String(message ?? error ?? `HTTP ${response.status}`)), { status: response.status, code, payload });
    } catch (error) {
      throw signal?.aborted ? (signal.reason ?? error) : error;
    }
  }

  get<TResponse = unknown>(path: string, options: Omit<HttpRequestOptions, "path" | "method"> = {}): Promise<TResponse> {
    return this.request<TResponse>({ ...options, path, method: "GET" });
  }

  post<TResponse = unknown, TBody = unknown>(path: string, body?: TBody, options: Options<TBody> = {}): Promise<TResponse> {
    return this.request<TResponse, TBody>({ ...options, path, method: "POST", ...(body !== undefined && { body }) });
  }

  put<TResponse = unknown, TBody = unknown>(path: string, body?: TBody, options: Options<TBody> = {}): Promise<TResponse> {
    return this.request<TResponse, TBody>({ ...options, path, method: "PUT", ...(body !== undefined && { body }) });
  }

  patch<TResponse = unknown, TBody = unknown>(path: string, body?: TBody, options: Options<TBody> = {}): Promise<TResponse> {
    return this.request<TResponse, TBody>({ ...options, path, method: "PATCH", ...(body !== undefined && { body }) });
  }

  delete<TResponse = unknown>(path: string, options: Omit<HttpRequestOptions, "path" | "method"> = {}): Promise<TResponse> {
    return this.request<TResponse>({ ...options, path, method: "DELETE" });
  }

  /** One call; `renews`: with a new token if it is refused. */
  async #send(url: URL, method: string, options: HttpRequestOptions, token: string | null, renews: boolean, again = false): Promise<Response> {
    const { body, credentials, signal } = options;
    const source = {
      getAccessToken: async () => token,
      // Whatever comes of it, the caller gets the answer that there was.
      refused: async (refused: string, error: HoldfastError) => {
        if (renews) await sourceOf(this.#tokens, this.#refresh).refused(refused, error).catch(() => {});
        const next = renews ? await this.#tokens.getAccessToken() : null;
        if (!next || next === refused) throw new HoldfastError(error.code, error.message, { final: true });
        token = next;
      },
    };
    const headers = new Headers({ Accept: "application/json" });
    if (body !== undefined) headers.set("Content-Type", "application/json");
    const ours = url.origin === new URL(this.#base).origin;
    let guard: string | null = null;
    if (this.#csrf?.enabled && ours && method !== "GET") {
      guard = await this.#token(again);
      if (guard) headers.set(this.#csrf.headerName ?? "X-CSRF-Token", guard);
    }
    for (const [name, value] of Object.entries(options.headers ?? {})) headers.set(name, value);
    const core = openHttp({
      url: () => this.#base,
      config: { timeout: 300_000 },
      withCredentials: credentials ? credentials === "include" : this.#withCredentials,
      source: () => (token ? source : undefined),
    }, kit);
    const response = await core.fetch(url.href, {
      method,
      headers,
      ...(body !== undefined && { body: JSON.stringify(body) }),
      ...(credentials && { credentials }),
      ...(guard && { redirect: "manual" }),
      ...(signal && { signal }),
    });
    if (ours) this.#guard = response.headers.get(this.#csrf?.headerName ?? "X-CSRF-Token") ?? this.#guard;
    return response;
  }

  /** The cookie's token, which a sign-in changes; else the one that was got. */
  async #token(anew = false): Promise<string | null> {
    if (anew || !(this.#cookie() ?? this.#guard)) {
      this.#guarding ??= this.#fetchToken().finally(() => (this.#guarding = undefined));
      await this.#guarding;
    }
    return (anew && this.#guard) || (this.#cookie() ?? this.#guard);
  }

  #cookie(): string | null {
    const cookies = `; ${readable(undefined) ?? ""}`;
    const value = cookies.split(`; ${this.#csrf?.cookieName ?? "csrf-token"}=`)[1]?.split(";")[0];
    return value ? decodeURIComponent(value) : null;
  }

  async #fetchToken(): Promise<void> {
    if (!this.#csrf?.fetchEndpoint) return;
    try {
      const url = new URL(this.#csrf.fetchEndpoint, this.#base).href;
      const response = await fetch(url, { credentials: this.#withCredentials ? "include" : "same-origin" });
      const header = response.headers.get(this.#csrf.headerName ?? "X-CSRF-Token");
      if (response.ok) this.#guard = header ?? JSON.parse((await response.text()) || "null")?.csrfToken ?? null;
    } catch {
      // The server says what it thinks of a call without.
    }
  }
}
