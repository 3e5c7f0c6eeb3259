import { until, within } from "../abort.js";
import { Emitter, safely } from "../emitter.js";
import { actionOf, HoldfastError, local, signedOut, unloaded } from "../errors.js";
import { createHttp } from "../http/own.js";
import type { StorageLike } from "../platform.js";
import { parse } from "../refusal.js";
import { clock, listen, part, random, wakes } from "../surroundings.js";
import type { AuthConfig, AuthEvents, Source, Tokens } from "../types.js";
import { kit, locked } from "./lock.js";
import type { AuthManager, AuthSnapshot, AuthSurroundings } from "./manager.js";
import { joins, permits } from "./rights.js";
import { checked, claims, makeSession, sameLogin, type Session } from "./session.js";
import type { Message, Tabs } from "./tabs.js";

/** A refresh under way. */
interface Flight {
  done: Promise<void>;
  /** Tells who waits: an error, or that there is something new. Again: nothing. */
  land: (error?: unknown) => void;
  /** Absent: it has called the server. */
  stop?: AbortController | undefined;
}

/** What an AuthManager does. */
export function manage(config: AuthConfig, surroundings: AuthSurroundings): AuthManager {
  const {
    storage = "localStorage",
    tokenKey: key = "holdfast:tokens",
    refreshEndpoint = "/api/auth/refresh",
    refreshFn,
    signOutEndpoint = "/api/auth/sign-out",
    cookie,
    inactivityTimeout: idle,
    crossTabSync = true,
    tokenExpiryBuffer = 30_000,
    onUnauthorized,
  } = config;
  const { platform, own = createHttp({ url: () => location.origin, platform, csrf: cookie }).own } = surroundings;
  const events = new Emitter<AuthEvents & { change: void }>();
  const alone = storage === "memory" && !cookie; // no other tab has this session
  let stop: (() => void) | undefined; // ends what has started
  let tabs: Promise<Tabs | void> | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let early: AuthEvents["error"] | undefined; // before anybody could listen
  let snapshot: AuthSnapshot | undefined;

  let store: StorageLike | undefined;
  let seen: string | undefined; // what it was last known to keep; undefined: nobody has looked
  let dirty = false; // the last write has failed

  let held: Session | undefined;
  let out = false; // signed out by somebody's wish, or for good: a cookie is not tried
  let flight: Flight | undefined; // of what is held
  let refreshedAt = -Infinity;
  let refusals: number[] = []; // refreshes for refused tokens, lately
  let failures = 0; // refreshes in a row that will be tried again
  let failure: unknown;
  let failedAt = -Infinity;
  let pause = 0; // after the last failure

  const now = () => clock(platform);

  /** How long ago something was. A clock that was set back proves nothing: then it is long ago. */
  const since = (at: number) => {
    const passed = now() - at;
    return passed < -1000 ? Infinity : passed;
  };

  /** What other tabs have too. */
  const shared = () => (storage === "localStorage" ? store : undefined);

  const renewable = () => cookie || (held && (refreshFn || held.refresh));

  const fail = (e: unknown) => {
    const payload: typeof early = { error: e instanceof Error ? e : new Error(`${e}`), source: "self" };
    if (stop) events.emit("error", payload);
    else early = payload;
  };

  /** Gives what is kept, if that is news, to `take`. Throws where it can't be read; garbage is put aside, and told of. */
  const read = (take: (session?: Session) => void) => {
    const text = store?.getItem(key) ?? "";
    if (text === seen) return;
    const session = checked(parse(text));
    seen = session ? text : "";
    take(session);
    if (session || !text) return;
    fail(new Error(`${key} held no session; it is now ${key}:bad`));
    store!.removeItem(key);
    store!.setItem(key + ":bad", text);
  };

  /** Keeps the session, or that there is none. A failure is told of once; memory goes on. */
  const write = () => {
    try {
      if (store) {
        const text = held ? JSON.stringify(held) : "";
        if (text) store.setItem(key, text);
        else store.removeItem(key);
        seen = text;
      }
      dirty = false;
    } catch (e) {
      if (!dirty) fail(e);
      dirty = true;
    }
  };

  const load = () => {
    if (seen !== undefined) return;
    seen = "";
    try {
      if (!cookie && storage !== "memory") store = part(platform, storage);
      read((session) => (held = session));
    } catch (e) {
      fail(e);
    }
  };

  const start = () => {
    if (stop) return;
    load();
    const off = listen(part(platform, "events"), wakes, wake);
    stop = () => {
      off();
      clearTimeout(timer);
      void tabs?.then((t) => t?.close());
      stop = tabs = undefined;
    };
    wake();
  };

  /** Looks whether there is something new, and does what is due. */
  const wake = () => {
    look();
    tick();
  };

  /** Takes over what others have put into the storage. */
  const look = () => {
    try {
      read(takeOver);
    } catch {
      // A storage that can't be read was told of when it was opened, or is when it is written.
    }
  };

  const tell = (message: Message) => void tabs?.then((t) => t?.post(message));

  const touch = () => void (idle && tabs?.then((t) => t?.touch()));

  /** Makes another tab's session this one's. */
  const takeOver = (next?: Session) => {
    dirty = false;
    const same = next && held && sameLogin(held, next);
    if (next ? !same || held!.access !== next.access || held!.refresh !== next.refresh : held || !out)
      become(next, same, "remote");
    else held = next; // which may be marked as being renewed
  };

  /** Replaces the session, and tells of it. Who waits for a refresh of the one before is told to look again. */
  const become = (next?: Session, renewed?: boolean, source: Source = "self", error?: HoldfastError) => {
    const was = held?.access;
    const before = flight;
    const mine = source === "self";
    held = next;
    flight = snapshot = undefined;
    failures = pause = 0;
    refreshedAt = -Infinity;
    if (renewed) refreshedAt = now();
    else {
      out = !next;
      refusals = [];
      touch();
    }
    before?.land();
    before?.stop?.abort();
    // What another tab has put into the storage that both have stays as it is: it may be newer by now.
    if (mine || !shared()) write();
    if (mine) tell({ kind: next ? "look" : "out", was, session: shared() ? undefined : next });
    if (!next) was && events.emit("sign-out", { source, ...(error && { error }) });
    else if (renewed) events.emit("refresh", { accessToken: next.access, source });
    else events.emit("sign-in", { user: next.user, source });
    events.emit("change", undefined);
    tick();
  };

  /** Does what is due now, and sets the timer for what is due next. */
  const tick = () => {
    if (!stop) return;
    // Until that code is there, and where it can't be loaded, a tab that wakes looks at the storage.
    if (crossTabSync || idle)
      tabs ??= import("./tabs.js").then(
        (m) => m.openTabs(config, { platform, events, shared, wake, takeOver, held: () => held }, kit),
        (e) => {
          tabs = undefined; // the next tick tries again
          fail(unloaded(e));
        },
      );
    let next = Infinity;
    if (dirty) {
      write();
      next = 30_000;
    }
    let wait = Infinity;
    if (renewable() && !flight && (held || !out)) {
      const life = held?.lifetimeMs;
      wait = Math.max(
        !held || held.renewing
          ? 0
          : life
            ? Math.max(life - tokenExpiryBuffer, 0.8 * life) - since(held.receivedAt)
            : Infinity,
        1000 - since(refreshedAt),
        pause - since(failedAt),
      );
      if (wait > 0) next = Math.min(next, wait);
    }
    clearTimeout(timer);
    // A timer holds 24.8 days at most.
    if (next < Infinity) timer = setTimeout(tick, Math.min(86_400_000, next));
    if (wait <= 0) void begin();
  };

  /** Joins the refresh under way or begins one, unless it is too early after a failure. */
  const renew = async (refused: boolean, signal?: AbortSignal) => {
    if (!flight && since(failedAt) < pause) throw failure;
    await until(begin(refused), signal);
  };

  /** The end of the refresh under way, which is begun if need be. */
  const begin = (refused = false): Promise<void> => {
    if (flight) return flight.done;
    const mine = (flight = { stop: new AbortController() } as Flight);
    mine.done = new Promise((resolve, reject) => (mine.land = (e) => (e ? reject(e) : resolve())));
    mine.done.catch(() => {}); // nobody waits for one ahead of time
    void fly(mine, refused);
    return mine.done;
  };

  /** Renews the session, once over all tabs: who has the lock looks first whether another has done it. */
  const fly = async (mine: Flight, refused: boolean) => {
    const current = () => {
      look();
      return flight === mine;
    };
    const run = async (signal: AbortSignal) => {
      if (!current()) return;
      mine.stop = undefined;
      const old = held;
      if (old && store) {
        held = { ...old, renewing: true };
        write();
      }
      const next = await until(ask(old, signal), signal);
      if (!current()) {
        // It came too late. If the present session is of the same login it would end with this one, so that stays.
        if (!held || !sameLogin(held, next)) revoke(next).catch(() => {});
        return;
      }
      if (refused) refusals.push(now());
      // A cookie may be somebody else's by now.
      become(next, old && old.user?.id === next.user?.id);
    };
    try {
      await within(mine.stop!.signal, 30_000, (signal) =>
        alone ? run(signal) : locked(platform, key + ":lock", shared(), signal, () => run(signal), crossTabSync && held),
      );
    } catch (e: any) {
      if (!current()) return; // of a session that nobody wants any more
      if (e.final) return end(e, mine);
      pause = Math.max(random(platform) * Math.min(1000 * 2 ** failures++, 60_000), Math.min(e.retryAfter || 0, 600) * 1000);
      failedAt = now();
      failure = e;
      flight = undefined;
      mine.land(e);
      fail(e);
      tick();
    }
  };

  const ask = async (old: Session | undefined, signal: AbortSignal): Promise<Session> => {
    const refreshToken = old?.refresh;
    let tokens: any;
    let date: number | undefined;
    if (refreshFn) tokens = await refreshFn(refreshToken, signal);
    else {
      try {
        const { res, body } = await own("POST", refreshEndpoint, cookie ? undefined : { refreshToken }, undefined, signal);
        date = Date.parse(res.headers.get("Date")!);
        // The other names are those of OAuth 2 (RFC 6749 §5.1).
        tokens = {
          accessToken: body?.access_token,
          refreshToken: body?.refresh_token,
          expiresIn: body?.expires_in,
          ...body,
        };
      } catch (e: any) {
        // The codes that end a session. Another one that is final elsewhere, such as NOT_FOUND, is a fault of the way there.
        if (!e.final || /^(UNAUTH|TOKEN_E|SESSION_|REFRESH_|INVALID_C|FORB)/.test(e.code)) throw e;
        throw new HoldfastError("INTERNAL", e.message, { status: e.status, cause: e });
      }
    }
    if (!tokens?.accessToken) throw local("INTERNAL", "No accessToken in the answer");
    return makeSession(tokens, now(), old, date);
  };

  /** Signs out because the server has ended the session. `flown`: a refresh has told so. */
  const end = (error: HoldfastError, flown?: Flight) => {
    const old = held;
    if (old && flown) events.emit("refresh-failed", { error, source: "self" });
    flown?.land(error);
    // Somebody may have signed in when he was told.
    if (held === old) become(undefined, false, "self", error);
    if (old) safely(() => onUnauthorized?.(error));
  };

  /** Tells the server of a sign-out, by cookie where there is no session. That it has ended already is no error. */
  const revoke = async (session?: Session) => {
    const { refresh: refreshToken, access } = session ?? {};
    try {
      if (signOutEndpoint) await own("POST", signOutEndpoint, refreshToken && { refreshToken }, access);
    } catch (e: any) {
      if (e.final) return;
      fail(e);
      throw e;
    }
  };

  const getAccessToken = async (signal?: AbortSignal) => {
    start();
    const old = held;
    if (
      old
        ? since(old.receivedAt) >= old.lifetimeMs! && since(refreshedAt) >= 1000 && renewable()
        : cookie && !out
    ) {
      try {
        await renew(false, signal);
      } catch (e: any) {
        if (old || !e.final) throw e;
      }
    }
    return held?.access ?? null;
  };

  const getSnapshot = () => {
    load();
    return (snapshot ??= {
      isAuthenticated: !!held,
      user: held?.user,
      sessionId: held?.sessionId,
      pending: !held && !!cookie && !out,
    });
  };

  const getUser = () => getSnapshot().user;

  const permissions = (): any => getSnapshot().isAuthenticated && claims(held!.access).permissions;

  return {
    setTokens(tokens: Tokens) {
      if (!tokens.accessToken) throw new TypeError("accessToken is missing");
      start();
      const next = makeSession(tokens, now());
      become(held && next.user && next.user.id === held.user?.id ? makeSession(tokens, now(), held) : next);
    },
    async clear() {
      start();
      const old = held;
      become();
      if (old || cookie) await revoke(cookie ? undefined : old);
    },
    async refresh(signal) {
      start();
      if (renewable()) await until(begin(), signal);
      else if (held) throw local("UNAUTHENTICATED", "There is no refresh token");
      if (!held) throw signedOut();
    },
    getAccessToken,
    async refused(token, error, signal) {
      start();
      look();
      if (held?.access === token) {
        if (actionOf(error) === "signed-out") {
          end(error);
          throw error;
        }
        refusals = refusals.filter((at) => since(at) < 30_000);
        // A server that refuses what it has just given is asked no more for a while. A token past the first quarter of
        // its life has been good: it ends, or is about to, as often as tokens are short-lived.
        const fresh = !(since(held.receivedAt) * 4 >= held.lifetimeMs!);
        if (!renewable() || (fresh && refusals.length > 2 && !flight)) throw error;
        await renew(fresh, signal);
      }
      if (!(await getAccessToken(signal))) throw signedOut();
    },
    isAuthenticated: () => getSnapshot().isAuthenticated,
    getUser,
    getSessionId: () => getSnapshot().sessionId,
    hasRole: (role) => [role].flat().some((one) => [getUser()?.roles ?? []].flat().includes(one as string)),
    can(action) {
      const actions = permissions()?.actions;
      return Array.isArray(actions) && actions.some((one) => typeof one === "string" && permits(one, action));
    },
    canJoin(room) {
      try {
        const rooms = (permissions() ?? {}).rooms;
        return !!held && (rooms === undefined || joins(rooms, room));
      } catch {
        return false; // permissions that make no sense grant nothing
      }
    },
    touch,
    on(event, handler) {
      const off = events.on(event, handler);
      start();
      const told = early;
      if (event === "error" && told) {
        early = undefined;
        queueMicrotask(() => events.emit("error", told));
      }
      return off;
    },
    subscribe(listener) {
      const off = events.on("change", listener);
      start();
      return off;
    },
    getSnapshot,
    close() {
      stop?.();
    },
  };
}
