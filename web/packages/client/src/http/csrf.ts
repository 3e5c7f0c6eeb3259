import type { Platform } from "../platform.js";
import type { CsrfConfig } from "../types.js";
import type { kit, OwnCall } from "./own.js";

/** The cookies that scripts may read. */
export const cookies = (platform: Platform | undefined): string | undefined =>
  platform && "cookie" in platform ? platform.cookie?.() : globalThis.document?.cookie;

/** A CSRF token, got when it is first needed (docs/protocol.md §3). */
export function createCsrf(
  config: CsrfConfig,
  own: OwnCall,
  platform: Platform | undefined,
  { local, until }: Pick<typeof kit, "local" | "until">,
) {
  const { endpoint = "/api/auth/csrf", headerName: header = "X-CSRF-Token", cookieName = "csrf-token" } = config;
  let token: string | undefined;
  let loading: Promise<string> | undefined;
  const load = async () => {
    try {
      const { res, body } = await own("GET", endpoint);
      token =
        res.headers.get(header) || body?.csrfToken || `; ${cookies(platform)}`.split(`; ${cookieName}=`)[1]?.split(";")[0];
      if (!token) throw local("PROTOCOL_ERROR", `${endpoint} brought no CSRF token`);
      return token;
    } finally {
      loading = undefined;
    }
  };
  return {
    header,
    /** The token; another one than that which was refused. One call gets it for all. */
    get: async (signal?: AbortSignal, refused?: string): Promise<string> =>
      token && token !== refused ? token : until((loading ??= load()), signal),
    /** Keeps the token that an answer brings: those to sign-in and sign-out do, and refusals. */
    learn(res: Response): void {
      token = res.headers.get(header) ?? token;
    },
  };
}
