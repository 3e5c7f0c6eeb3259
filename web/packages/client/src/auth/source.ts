import { until } from "../abort.js";
import { actionOf } from "../errors.js";
import type { AuthToken, TokenSource } from "../types.js";

/**
 * A source of a token that the application owns. A function is asked at each
 * use, and again after a refusal; a fixed text that is refused is at its end,
 * and the caller is told the server's reason.
 */
export function sourceOf(authToken: AuthToken): TokenSource {
  const get = async () => (typeof authToken === "string" ? authToken : await authToken()) || null;
  return {
    getAccessToken: (signal) => until(get(), signal),
    async refused(token, error, signal) {
      // A function that has no other token is no better than a text.
      if (actionOf(error) === "signed-out" || (await until(get(), signal)) === token) throw error;
    },
  };
}
