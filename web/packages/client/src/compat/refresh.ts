import { safely } from "../emitter.js";
import type { TokenSource } from "../types.js";
import { claims } from "../auth/session.js";
import { HoldfastError } from "../errors.js";
import type { TokenManager } from "./token.js";
import type { RefreshConfig } from "./types.js";

/** Gets new access tokens from the application's endpoint, one call for all who ask meanwhile. */
export class RefreshManager {
  readonly #config: RefreshConfig | undefined;
  readonly #tokens: TokenManager;
  readonly #onUnauthorized: (() => void) | undefined;
  #flight: Promise<string | null> | undefined;
  #failures = 0;

  constructor(config: RefreshConfig | undefined, tokenManager: TokenManager, onUnauthorized?: () => void) {
    this.#config = config;
    this.#tokens = tokenManager;
    this.#onUnauthorized = onUnauthorized;
  }

  /**
   * The new token; null where there is none. The session has ended where the
   * endpoint answers 400, 401 or 403, or `maxRetries` times without a token: then the
   * token is cleared and `onUnauthorized` called. A network that is down, 429 and 5xx end nothing.
   */
  refreshAccessToken(): Promise<string | null> {
    if (!this.#config?.enabled) return Promise.resolve(null);
    return (this.#flight ??= this.#refresh(this.#config).finally(() => {
      this.#flight = undefined;
      safely(() => this.#config?.onRefreshEnd?.());
    }));
  }

  /** @internal */
  get enabled(): boolean {
    return !!this.#config?.enabled;
  }

  async #refresh({ endpoint, method = "POST", maxRetries = 3, ...told }: RefreshConfig): Promise<string | null> {
    safely(() => told.onRefreshStart?.());
    const before = this.#tokens.getAccessTokenSync();
    let over = false;
    try {
      const response = await fetch(endpoint, { method, credentials: "include", headers: { Accept: "application/json" } });
      const { accessToken } = response.ok ? ((await response.json()) ?? {}) : {};
      const token = typeof accessToken === "string" && accessToken.trim();
      // Somebody has signed out, or in, meanwhile: what comes late must not undo that.
      const now = this.#tokens.getAccessTokenSync();
      if (now !== before) return now;
      if (token) {
        this.#failures = 0;
        this.#tokens.setAccessToken(token);
        safely(() => told.onRefreshSuccess?.({ accessToken: token }));
        return token;
      }
      over = /^40[013]$/.test(`${response.status}`) || (response.ok && ++this.#failures >= maxRetries);
    } catch {
      // The network, or a page that is no JSON.
    }
    safely(() => told.onRefreshFailure?.());
    if (over) {
      this.#failures = 0;
      this.#tokens.clearAll();
      safely(() => this.#onUnauthorized?.());
    }
    return null;
  }
}

/** Makes a RefreshManager. */
export function createRefreshManager(
  config: RefreshConfig | undefined,
  tokenManager: TokenManager,
  onUnauthorized?: () => void,
): RefreshManager {
  return new RefreshManager(config, tokenManager, onUnauthorized);
}

/**
 * What the client needs to know of the two. An empty token stands for none:
 * cookies may say who it is.
 */
export function sourceOf(tokens: TokenManager, refresh: RefreshManager): TokenSource {
  return {
    getAccessToken: async () => (await tokens.getAccessToken()) ?? "",
    async refused(token, error) {
      if ((tokens.getAccessTokenSync() ?? "") !== token) return; // there is another one by now
      if (await refresh.refreshAccessToken()) return;
      const over = !tokens.getAccessTokenSync() || !refresh.enabled;
      throw over ? new HoldfastError(error.code, error.message, { status: error.status, final: true }) : error;
    },
    getUser() {
      const { sub, userId } = claims(tokens.getAccessTokenSync() ?? "") ?? {};
      return sub || userId ? { id: String(sub || userId) } : undefined;
    },
    on(event, handler) {
      if (event !== "refresh") return () => {};
      return tokens.onTokenChange((token) => token && handler({ accessToken: token, source: "self" } as any));
    },
  };
}
