import type { Tokens, User } from "../types.js";
import { cookieOf } from "./cookies.js";
import { jsonAnswer, type Answer } from "./faults.js";
import type { Hub } from "./hub.js";
import type { Issued, Issuer, Session } from "./issuer.js";
import { Refusal } from "./refusal.js";
import { checkRoom, verbs } from "./rights.js";

/** A request that has come in. */
export interface TestRequest {
  method: string;
  url: URL;
  headers: Headers;
  /** The body as it came. */
  body: string;
  signal?: AbortSignal | undefined;
}

/** What the calls need of the server. */
export interface Calls {
  issuer: Issuer;
  hub: Hub;
  password: string | undefined;
  csrf: "header" | "body" | "cookie" | undefined;
  over(sessions: Session[]): void;
}

/** Whose request it is, by its Authorization header or its session cookie. */
export interface Caller {
  issued?: Issued;
  session?: Session;
  user: User;
}

const bearer = (r: TestRequest) => /^Bearer +(\S+)$/i.exec(r.headers.get("Authorization") ?? "")?.[1];

const cookie = (r: TestRequest, name: string) => cookieOf(r.headers.get("Cookie"), name);

/** The token of a handshake: of its header, or of its session cookie. */
export function handshakeToken(issuer: Issuer, r: TestRequest): string | undefined {
  const named = issuer.ofCookie(cookie(r, "session") ?? "");
  const session = named?.session?.over ? undefined : named?.session;
  return bearer(r) ?? named?.token ?? (session && issuer.exchange(session).accessToken);
}

/** Throws unless a request is by somebody who is signed in. */
export function caller(issuer: Issuer, r: TestRequest): Caller {
  const named = r.headers.has("Authorization") ? undefined : issuer.ofCookie(cookie(r, "session") ?? "");
  if (named?.session && issuer.refusals === 0) {
    if (named.session.over) throw new Refusal("SESSION_REVOKED");
    return { session: named.session, user: { id: named.session.user } };
  }
  const issued = issuer.verify(bearer(r) ?? named?.token);
  return { issued, user: issued.user };
}

/** Whether a request changes something. */
export const unsafe = (r: TestRequest) => !["GET", "HEAD", "OPTIONS"].includes(r.method);

/** Whether it needs a CSRF token: its credential is one that browsers send by themselves. */
export function guarded({ issuer, csrf }: Calls, r: TestRequest, handshake: boolean): boolean {
  if (!unsafe(r) || r.headers.has("Authorization") || handshake || r.url.searchParams.has("sid")) return false;
  const path = r.url.pathname;
  const byCookie = () => issuer.ofCookie(cookie(r, "session") ?? "")?.session !== undefined;
  const wants = path.startsWith("/api/auth/")
    ? path === "/api/auth/refresh" && cookie(r, "refresh") !== undefined && !r.body.includes("refreshToken")
    : csrf !== undefined || (byCookie() && path !== "/api/realtime/token");
  return wants && r.headers.get("X-CSRF-Token") !== issuer.csrf;
}

function json(r: TestRequest): any {
  if (!/^application\/json\b/i.test(r.headers.get("Content-Type") ?? ""))
    throw new Refusal("INVALID_ARGUMENT", "Content-Type must be application/json");
  try {
    return JSON.parse(r.body);
  } catch {
    throw new Refusal("INVALID_ARGUMENT");
  }
}

const noStore = { "Cache-Control": "no-store" };

/** The answer with tokens; in mode cookie they go into cookies. */
function withTokens(c: Calls, tokens: Tokens, session: Session | undefined): Answer {
  if (!session) return jsonAnswer(tokens, 200, noStore);
  const { refreshToken, ...rest } = tokens;
  const answer = jsonAnswer(rest, 200, { ...noStore, "X-CSRF-Token": c.issuer.csrf });
  answer.cookies = [
    `session=${session.cookie}; Path=/; HttpOnly; SameSite=Lax`,
    `csrf-token=${c.issuer.csrf}; Path=/; SameSite=Lax`,
  ];
  if (refreshToken) answer.cookies.push(`refresh=${refreshToken}; Path=/api/auth/; HttpOnly; SameSite=Lax`);
  return answer;
}

function signIn(c: Calls, r: TestRequest): Answer {
  const { email, password, mode } = json(r);
  if (typeof email !== "string" || email === "" || (c.password !== undefined && password !== c.password))
    throw new Refusal("INVALID_CREDENTIALS");
  const { session, tokens } = c.issuer.signIn(email);
  return withTokens(c, tokens, (mode ?? (r.headers.has("Origin") ? "cookie" : "token")) === "cookie" ? session : undefined);
}

function refresh(c: Calls, r: TestRequest): Answer {
  const given = r.body === "" ? undefined : json(r).refreshToken;
  const ofCookie = given === undefined ? cookie(r, "refresh") : undefined;
  const token = given ?? ofCookie;
  if (token === undefined) throw new Refusal("UNAUTHENTICATED", "Unauthorized: there is no refresh token");
  const tokens = c.issuer.renew(token, (session) => c.over([session]));
  return withTokens(c, tokens, ofCookie === undefined ? undefined : c.issuer.ofRefresh(token));
}

function signOut(c: Calls, r: TestRequest): Answer {
  let given: string | undefined;
  try {
    given = JSON.parse(r.body).refreshToken;
  } catch {
    // the body may be missing
  }
  const { issuer } = c;
  const session =
    issuer.ofRefresh(given) ??
    issuer.access.get(bearer(r) ?? "")?.session ??
    issuer.ofCookie(cookie(r, "session") ?? "")?.session ??
    issuer.ofRefresh(cookie(r, "refresh"));
  if (!session) throw new Refusal("UNAUTHENTICATED");
  c.over(issuer.end("SESSION_REVOKED", (s) => s === session));
  const answer = jsonAnswer({}, 200, noStore);
  answer.cookies = ["session=; Path=/; Max-Age=0", "refresh=; Path=/api/auth/; Max-Age=0"];
  return answer;
}

function csrf({ issuer, csrf: way }: Calls): Answer {
  const by = (w: string) => way === undefined || way === w;
  const answer = jsonAnswer(by("body") ? { csrfToken: issuer.csrf } : {}, 200, noStore);
  if (by("header")) answer.headers["X-CSRF-Token"] = issuer.csrf;
  if (by("cookie")) answer.cookies = [`csrf-token=${issuer.csrf}; Path=/; SameSite=Lax`];
  return answer;
}

function session({ issuer }: Calls, r: TestRequest): Answer {
  if (!r.headers.has("Authorization")) {
    const found = issuer.ofCookie(cookie(r, "session") ?? "")?.session;
    if (!found || found.over) return jsonAnswer(null, 200, noStore);
  }
  const { user, issued, session } = caller(issuer, r);
  return jsonAnswer({ session: { id: (session ?? issued?.session)?.id }, user }, 200, noStore);
}

function realtimeToken({ issuer }: Calls, r: TestRequest): Answer {
  const { session } = caller(issuer, r);
  if (!session) throw new Refusal("FORBIDDEN", "This call is for sessions in cookies: whoever has a token refreshes it");
  const { accessToken, expiresIn, expiresAt } = issuer.exchange(session);
  return jsonAnswer({ accessToken, expiresIn, expiresAt }, 200, noStore);
}

/** The calls about rooms: publish, history, presence. */
function ofRoom({ issuer, hub }: Calls, r: TestRequest, room: string, what: string): Answer {
  checkRoom(room);
  const by = caller(issuer, r);
  const verb = { events: "publish", history: "join", presence: "presence" }[what] as "publish" | "join" | "presence";
  if (by.issued && !verbs(by.issued.rooms, room).includes(verb))
    throw new Refusal("FORBIDDEN", verb === "publish" ? "Not allowed to publish in this room" : "Not allowed in this room");
  if (what === "events") {
    const { event, data, id } = json(r);
    return jsonAnswer(hub.publish(room, event, data, { id, from: by.user.id }));
  }
  if (what === "presence") return jsonAnswer({ members: hub.list(room), viewers: hub.viewers(room) }, 200, noStore);
  const query = r.url.searchParams;
  const since = /^([\w-]{1,32}):(\d+)$/.exec(query.get("since") ?? "");
  if (query.has("since") && !since) throw new Refusal("INVALID_ARGUMENT", "since is EPOCH:OFFSET");
  const position = since ? { epoch: since[1]!, offset: Number(since[2]) } : undefined;
  return jsonAnswer(hub.history(room, position, Math.min(Number(query.get("limit") ?? 100), 1_000)));
}

/** Answers the server's own calls; undefined for a path that is not one. */
export function ownCall(c: Calls, r: TestRequest): Answer | undefined {
  const room = /^\/api\/rooms\/([^/]+)\/(events|history|presence)$/.exec(r.url.pathname);
  const wants = room?.[2] === "events" ? "POST" : "GET";
  if (room && r.method === wants) return ofRoom(c, r, decodeURIComponent(room[1]!), room[2]!);
  switch (`${r.method} ${r.url.pathname}`) {
    case "POST /api/auth/sign-in":
      return signIn(c, r);
    case "POST /api/auth/refresh":
      return refresh(c, r);
    case "POST /api/auth/sign-out":
      return signOut(c, r);
    case "GET /api/auth/csrf":
      return csrf(c);
    case "GET /api/auth/session":
      return session(c, r);
    case "POST /api/realtime/token":
      return realtimeToken(c, r);
    case "GET /healthz":
    case "GET /readyz":
      return jsonAnswer({});
    default:
      return undefined;
  }
}
