import { there } from "../errors.js";
import type { Tokens, User } from "../types.js";

/** A session as it is held and, as JSON, kept. Never changed, only replaced. */
export interface Session {
  readonly version: 1;
  readonly access: string;
  readonly refresh?: string;
  readonly user?: User;
  readonly sessionId?: string;
  /** How long `access` was good for when it came; absent: nobody knows, or for ever. */
  readonly lifetimeMs?: number;
  /** By this machine's clock. */
  readonly receivedAt: number;
  /** Somebody has begun to renew it, so that the server may have used `refresh` up. */
  readonly renewing?: boolean;
  /** Random: names this session and no other, and tells nothing of its tokens. Older versions kept none. */
  readonly n?: number;
}

/** The claims of a JWT, empty for any other text. Nothing is verified: only the server can. */
export function claims(access: string): any {
  try {
    // Bytes as characters, of which `escape` makes what `decodeURIComponent` reads as UTF-8. It is the shortest way.
    return Object(JSON.parse(decodeURIComponent(escape(atob(access.split(".")[1]!.replace(/-/g, "+").replace(/_/g, "/"))))));
  } catch {
    return {};
  }
}

/**
 * Makes a session of what the server gave. `old` is the one that it replaces,
 * `date` the server's clock when it answered, NaN where that is not known.
 */
export function makeSession(t: Tokens, now: number, old?: Session, date = NaN): Session {
  const { sub, name, email, roles, sid, exp, iat } = claims(t.accessToken);
  const id = t.user?.id ?? sub ?? old?.user?.id;
  const user = {
    ...(id === old?.user?.id && old?.user),
    // One role may be a text.
    ...(id === sub && there({ name, email, roles: roles && [].concat(roles) })),
    ...there(t.user),
    id,
  };
  // Lengths of time don't depend on whose clock is right; where there is none, the server's clock is the better one.
  const end = t.expiresAt || exp * 1000;
  const life =
    t.expiresIn! > 0
      ? t.expiresIn! * 1000
      : iat > 0 && exp > iat
        ? (exp - iat) * 1000
        : end > date
          ? end - date
          : end - now;
  return there({
    version: 1,
    access: t.accessToken,
    refresh: t.refreshToken || old?.refresh,
    user: id && user,
    sessionId: t.sessionId ?? sid ?? old?.sessionId,
    lifetimeMs: life > 0 ? life : undefined,
    receivedAt: now,
    n: Math.random(),
  });
}

/** The session, if it is one: others may write to storages and channels, too. */
export function checked(s: any): Session | undefined {
  const kinds = s?.access && [s.access, s.refresh ?? "", s.user ?? {}, s.receivedAt, s.lifetimeMs ?? 0].map((v) => typeof v);
  return s?.version === 1 && `${kinds}` === "string,string,object,number,number" ? s : undefined;
}

/** Whether two sessions come from one sign-in. */
export function sameLogin(a: Session, b: Session): boolean {
  return a.user?.id === b.user?.id && a.sessionId === b.sessionId;
}
