import type { Code } from "../codes.js";
import type { Tokens, User } from "../types.js";
import { Refusal } from "./refusal.js";
import type { RoomRights } from "./rights.js";

/** What a token says of a user beyond who he is. */
export interface Claims {
  name?: string;
  email?: string;
  roles?: string[];
  /** Default: all rooms. */
  rooms?: RoomRights;
  actions?: string[];
}

/** How tokens and answers are. */
export interface IssuerConfig {
  lifetime: number; // ms
  opaque: boolean;
  noExpiry: boolean;
  keepRefresh: boolean;
  claims: (user: string) => Claims;
}

/** One login. */
export interface Session {
  id: string;
  user: string;
  /** Why it has ended. */
  over?: Code;
  cookie: string;
  refresh: string; // the one to be used next
  previous?: string; // the one before, forgiven for some time
  rotated: number; // epoch ms
  confirmed: boolean; // the present one has been used
}

/** An access token. */
export interface Issued {
  serial: number;
  user: User;
  rooms: RoomRights;
  session: Session | undefined;
  issuedAt: number; // epoch ms, by the right clock
  expiresAt: number; // epoch ms, in whole seconds as `exp` is
  version: number;
  refused?: Code;
}

const leeway = 5_000; // ms
const grace = 30_000; // ms, of a used refresh token

function segment(value: unknown): string {
  const text = String.fromCharCode(...new TextEncoder().encode(JSON.stringify(value)));
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** Signs users in and renews their sessions, as docs/protocol.md §3 says. It outlives restarts of the server. */
export class Issuer {
  skew = 0; // ms
  csrf = "csrf-1";
  /** Tokens of so many refreshes to come are refused. */
  fresh = 0;
  /** So many credentials to come are refused, with this code. */
  refusals = 0;
  refusal: Code = "UNAUTHENTICATED";
  readonly access = new Map<string, Issued>();
  readonly versions = new Map<string, number>();
  readonly #sessions: Session[] = [];
  readonly #refreshes = new Map<string, Session>();
  readonly #config: IssuerConfig;
  readonly #now: () => number;
  #made = 0;

  constructor(config: IssuerConfig, now: () => number) {
    this.#config = config;
    this.#now = now;
  }

  /** A text that was not there before. It is no secret: tests should come out alike each time. */
  unique(prefix: string): string {
    return `${prefix}${++this.#made}`;
  }

  signIn(user: string): { session: Session; tokens: Tokens } {
    const session: Session = {
      id: this.unique("s_"), user, cookie: this.unique("cookie-"), refresh: this.unique("refresh-"), rotated: 0, confirmed: false,
    };
    this.#sessions.push(session);
    this.#refreshes.set(session.refresh, session);
    const tokens = this.#answer(session);
    return { session, tokens: { user: this.#user(user), ...tokens, refreshToken: session.refresh } };
  }

  #user(id: string): User {
    const { name, email, roles } = this.#config.claims(id);
    return { id, ...(name && { name }), ...(email && { email }), ...(roles && { roles }) };
  }

  /** A token, and all that is said about it. */
  #answer(session: Session): Tokens {
    const { lifetime, noExpiry } = this.#config;
    const accessToken = this.mint(session.user, session);
    const expiry = { expiresIn: Math.floor(lifetime / 1000), expiresAt: this.#now() + lifetime + this.skew };
    return { accessToken, sessionId: session.id, ...(!noExpiry && expiry) };
  }

  /** Makes a token that looks like a JWT. It is not signed: this server knows its own by their texts. */
  mint(user: string, session?: Session, lifetime = this.#config.lifetime): string {
    const claims = this.#config.claims(user);
    const now = this.#now();
    const seconds = (ms: number) => Math.floor(ms / 1000);
    const version = this.versions.get(user);
    const serial = this.access.size + 1;
    const payload = {
      sub: user, iat: seconds(now + this.skew), exp: seconds(now + this.skew + lifetime), jti: `t${serial}`,
      ...(session && { sid: session.id }),
      ...(version !== undefined && { pv: version }),
      ...(claims.name && { name: claims.name }),
      ...(claims.email && { email: claims.email }),
      ...(claims.roles && { roles: claims.roles }),
      ...((claims.rooms || claims.actions) && {
        permissions: { ...(claims.rooms && { rooms: claims.rooms }), ...(claims.actions && { actions: claims.actions }) },
      }),
    };
    const text = this.#config.opaque
      ? `opaque-${serial}`
      : `${segment({ alg: "HS256", typ: "at+jwt" })}.${segment(payload)}.${segment("not signed")}`;
    this.access.set(text, {
      serial, session, user: this.#user(user), rooms: claims.rooms ?? ["**"],
      issuedAt: now, expiresAt: seconds(now + lifetime) * 1000, version: version ?? 0,
    });
    return text;
  }

  /** Throws unless a token is good; undefined and "" are none. */
  verify(token: string | undefined): Issued {
    if (this.refusals !== 0) {
      this.refusals--;
      throw new Refusal(this.refusal);
    }
    const issued = this.access.get(token ?? "");
    if (!issued) throw new Refusal("UNAUTHENTICATED", token ? "Unauthorized: the token is not of this server" : undefined);
    if (issued.refused) throw new Refusal(issued.refused);
    const why = this.invalid(issued);
    if (why) throw new Refusal(why);
    return issued;
  }

  /** Why a token that was good is not any more. */
  invalid(issued: Issued): Code | undefined {
    if (issued.session?.over) return "SESSION_REVOKED";
    if (this.#now() >= issued.expiresAt + leeway) return "TOKEN_EXPIRED";
    if (issued.version < (this.versions.get(issued.user.id) ?? 0)) return "PERMISSION_VERSION_STALE";
    return undefined;
  }

  /** The session of a session cookie, which may also be an access token. */
  ofCookie(value: string): { session?: Session; token?: string } | undefined {
    if (this.access.has(value)) return { token: value };
    const session = this.#sessions.find((s) => s.cookie === value);
    return session && { session };
  }

  ofRefresh(token: string | undefined): Session | undefined {
    return this.#refreshes.get(token ?? "");
  }

  /** What a refresh does with a refresh token. `died` is told of a session that ends because of it. */
  renew(refresh: string | undefined, died: (session: Session) => void): Tokens {
    const session = this.ofRefresh(refresh);
    if (!session) throw new Refusal("UNAUTHENTICATED", "Unauthorized: unknown refresh token");
    if (session.over) throw new Refusal(session.over);
    const forgiven = refresh === session.previous && !session.confirmed && this.#now() - session.rotated <= grace;
    if (refresh === session.refresh) {
      if (!this.#config.keepRefresh) {
        session.previous = session.refresh;
        session.refresh = this.unique("refresh-");
        session.rotated = this.#now();
        this.#refreshes.set(session.refresh, session);
      }
      session.confirmed = false;
    } else if (!forgiven) {
      session.over = "REFRESH_REUSED";
      died(session);
      throw new Refusal("REFRESH_REUSED");
    }
    const tokens = this.#answer(session);
    if (this.fresh !== 0) {
      this.fresh--;
      this.access.get(tokens.accessToken)!.refused = "UNAUTHENTICATED";
    }
    return this.#config.keepRefresh ? tokens : { ...tokens, refreshToken: session.refresh };
  }

  /** An access token for a session that a cookie names. */
  exchange(session: Session): Tokens {
    if (session.over) throw new Refusal("SESSION_REVOKED");
    return this.#answer(session);
  }

  /** Ends sessions, and returns those that it found. */
  end(code: Code, matches: (s: Session) => boolean): Session[] {
    const found = this.#sessions.filter((s) => !s.over && matches(s));
    for (const s of found) s.over = code;
    return found;
  }

  expire(): void {
    for (const t of this.access.values()) t.refused ??= "TOKEN_EXPIRED";
  }
}
