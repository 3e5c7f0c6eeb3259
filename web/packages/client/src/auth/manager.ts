import { limit, sleep, until } from "../abort.js";
import { codes, type Code } from "../codes.js";
import { Emitter, safely } from "../emitter.js";
import { HoldfastError, signedOut } from "../errors.js";
import { createHttp, type OwnCall } from "../http/http.js";
import type { Platform, StorageLike } from "../platform.js";
import { clock, part, random } from "../surroundings.js";
import type { AuthConfig, AuthEvents, Source, TokenSource, Tokens, Unsubscribe, User } from "../types.js";
import { Kept } from "./kept.js";
import { locked } from "./lock.js";
import { joins, permits } from "./rights.js";
import { claims, makeSession, sameLogin, type Session } from "./session.js";
import { openTabs, type Message, type Tabs } from "./tabs.js";

/** What an AuthManager shows of itself. A new object at each change, so that it can be a snapshot. */
export interface AuthSnapshot {
  readonly isAuthenticated: boolean;
  readonly user: User | undefined;
  readonly sessionId: string | undefined;
  /** With `cookie`: whether there is a session is being found out. */
  readonly pending: boolean;
}

/** What an AuthManager is placed in. All of it has defaults. */
export interface AuthSurroundings {
  platform?: Platform | undefined;
  /** Makes the calls to the server. Default: to the page's origin, with CSRF where `cookie` is set. */
  own?: OwnCall | undefined;
}

/** A refresh under way. */
interface Flight {
  done: Promise<void>;
  /** Tells who waits: an error, or that there is something new. Again: nothing. */
  land: (error?: unknown) => void;
  stop: AbortController;
  /** It has not called the server yet. */
  waiting: boolean;
}

const second = 1000;
const day = 86_400 * second;

/**
 * Owns the life of a session: keeps it in a storage, renews it before it ends
 * or when the server has refused it, and follows what other tabs do. Tabs with
 * one storage refresh once for all of them.
 *
 * Nothing happens at construction. Timers, listeners and channels begin with
 * `on`, `subscribe`, `getAccessToken` or `setTokens`, and end with `close`.
 */
export class AuthManager implements TokenSource {
  readonly #config: AuthConfig;
  readonly #platform: Platform | undefined;
  readonly #own: OwnCall;
  readonly #key: string;
  readonly #events = new Emitter<AuthEvents & { change: void }>();
  readonly #kept: Kept;
  #tabs: Tabs | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #loaded = false;
  #early: AuthEvents["error"] | undefined; // before anybody could listen
  #snapshot: AuthSnapshot | undefined;

  #held: Session | undefined;
  #out = false; // signed out by somebody's wish, or for good: a cookie is not tried
  #generation = 0; // of #held
  #flight: Flight | undefined;
  #linger: (() => void) | undefined; // gives the lock back after the last refresh
  #refreshedAt = -Infinity;
  #refusals: number[] = []; // refreshes for refused tokens, lately
  #failures = 0; // refreshes in a row that will be tried again
  #failure: unknown;
  #failedAt = -Infinity;
  #pause = 0; // after the last failure
  #activeAt = 0;
  #sharedAt = 0; // activity that the other tabs know of
  #idleTold = false;

  constructor(config: AuthConfig = {}, { platform, own }: AuthSurroundings = {}) {
    this.#config = config;
    this.#platform = platform;
    this.#own = own ?? createHttp({ url: () => location.origin, platform, csrf: config.cookie }).own;
    this.#key = config.tokenKey ?? "holdfast:tokens";
    this.#kept = new Kept(this.#key, (e) => this.#fail(e));
  }

  /** Signs in, or replaces the tokens of whoever is signed in. The refresh token is kept where the same user has no new one. */
  setTokens(tokens: Tokens): void {
    if (!tokens.accessToken) throw new TypeError("accessToken is missing");
    this.#start();
    const old = this.#held;
    const next = makeSession(tokens, this.#now());
    const same = old && next.user && next.user.id === old.user?.id;
    this.#become("sign-in", same ? makeSession(tokens, this.#now(), old) : next, { user: next.user, source: "self" });
  }

  /**
   * Signs out: here at once, whatever else fails; then with the server. Rejects
   * where the server did not hear of it.
   */
  async clear(): Promise<void> {
    this.#start();
    const old = this.#held;
    const { cookie } = this.#config;
    this.#become("sign-out", undefined, { source: "self" });
    if (old || cookie) await this.#revoke(cookie ? undefined : old);
  }

  /**
   * Renews the session now, or joins the refresh under way; pauses after
   * failures don't count. Rejects with SIGNED_OUT where there is none, or none any more.
   */
  async refresh(signal?: AbortSignal): Promise<void> {
    this.#start();
    if (this.#renewable()) await until(this.#begin().done, signal);
    else if (this.#held) throw new HoldfastError("UNAUTHENTICATED", "There is no refresh token");
    if (!this.#held) throw signedOut();
  }

  async getAccessToken(signal?: AbortSignal): Promise<string | null> {
    this.#start();
    const held = this.#held;
    const usable =
      held &&
      (!(this.#since(held.receivedAt) >= held.lifetimeMs!) ||
        this.#since(this.#refreshedAt) < second ||
        !this.#renewable());
    if (held ? !usable : this.#config.cookie && !this.#out) {
      try {
        await this.#renew(false, signal);
      } catch (e: any) {
        if (held || !e.final) throw e;
      }
    }
    return this.#held?.access ?? null;
  }

  async refused(token: string, error: HoldfastError, signal?: AbortSignal): Promise<void> {
    this.#start();
    this.#look();
    if (this.#held?.access === token) {
      if (codes[error.code as Code]?.[2] === "signed-out") {
        this.#end(error);
        throw error;
      }
      this.#refusals = this.#refusals.filter((at) => this.#since(at) < 30 * second);
      // A server that refuses what it has just given is asked no more for a while.
      if (!this.#renewable() || (this.#refusals.length > 2 && !this.#flight)) throw error;
      await this.#renew(true, signal);
    }
    if (!(await this.getAccessToken(signal))) throw signedOut();
  }

  /** There is a session, though its token may have to be renewed. */
  isAuthenticated(): boolean {
    return this.getSnapshot().isAuthenticated;
  }

  getUser(): User | undefined {
    return this.getSnapshot().user;
  }

  /** The public id of the login session. */
  getSessionId(): string | undefined {
    return this.getSnapshot().sessionId;
  }

  /** Whether the user has the role, or one of them. */
  hasRole(role: string | readonly string[]): boolean {
    return [role].flat().some((one) => this.getUser()?.roles?.includes(one as string));
  }

  /** Whether the access token permits an action. It is for showing a button or not: the server decides. */
  can(action: string): boolean {
    const actions = this.#permissions()?.actions;
    return Array.isArray(actions) && actions.some((one) => typeof one === "string" && permits(one, action));
  }

  /** Whether the access token permits to join a room. One that says nothing of rooms leaves that to the server: true. */
  canJoin(room: string): boolean {
    const permissions = this.#permissions();
    try {
      return (
        !!this.#held && (permissions === undefined || permissions.rooms === undefined || joins(permissions.rooms, room))
      );
    } catch {
      return false; // permissions that make no sense grant nothing
    }
  }

  /** The user is active, which puts `inactivity-timeout` off, in other tabs as well. */
  touch(): void {
    this.#activeAt = this.#now();
    this.#idleTold = false;
    if (this.#config.inactivityTimeout) this.#tick();
  }

  on<K extends keyof AuthEvents>(event: K, handler: (payload: AuthEvents[K]) => void): Unsubscribe {
    const off = this.#events.on(event, handler);
    this.#start();
    const early = this.#early;
    if (event === "error" && early) {
      this.#early = undefined;
      queueMicrotask(() => this.#events.emit("error", early));
    }
    return off;
  }

  /** Calls a listener at each change of `getSnapshot()`. */
  subscribe(listener: () => void): Unsubscribe {
    const off = this.#events.on("change", listener);
    this.#start();
    return off;
  }

  /** The same object until something changes. */
  getSnapshot(): AuthSnapshot {
    this.#load();
    const held = this.#held;
    return (this.#snapshot ??= {
      isAuthenticated: !!held,
      user: held?.user,
      sessionId: held?.sessionId,
      pending: !held && !!this.#config.cookie && !this.#out,
    });
  }

  /**
   * Ends timers, listeners and channels, until the manager is used again. The
   * storage keeps the session, and what a refresh under way brings.
   */
  close(): void {
    clearTimeout(this.#timer);
    this.#tabs?.close();
    this.#tabs = undefined;
  }

  #now(): number {
    return clock(this.#platform);
  }

  /** How long ago something was. A clock that was set back proves nothing: then it is long ago. */
  #since(at: number): number {
    const passed = this.#now() - at;
    return passed < -second ? Infinity : passed;
  }

  #permissions(): any {
    this.#load();
    return this.#held && claims(this.#held.access).permissions;
  }

  #renewable(): unknown {
    return this.#config.cookie || (this.#held && (this.#config.refreshFn || this.#held.refresh));
  }

  #fail(error: unknown): void {
    const payload = { error: error instanceof Error ? error : new Error(String(error)), source: "self" as Source };
    if (this.#tabs) this.#events.emit("error", payload);
    else this.#early = payload;
  }

  #start(): void {
    if (this.#tabs) return;
    this.#load();
    const { crossTabSync, channelName, inactivityTimeout } = this.#config;
    this.#tabs = openTabs({
      platform: this.#platform,
      key: this.#key,
      channel: crossTabSync === false ? undefined : (channelName ?? this.#key),
      storage: this.#shared(),
      heard: (message) => this.#heard(message),
      woken: () => {
        this.#look();
        this.#tick();
      },
      active: inactivityTimeout ? () => this.#since(this.#activeAt) >= second && this.touch() : undefined,
    });
    this.#activeAt = this.#sharedAt = this.#now();
    this.#look();
    this.#tick();
  }

  /** What other tabs have too. */
  #shared(): StorageLike | undefined {
    return (this.#config.storage ?? "localStorage") === "localStorage" ? this.#kept.storage : undefined;
  }

  #load(): void {
    if (this.#loaded) return;
    this.#loaded = true;
    const { cookie, storage = "localStorage" } = this.#config;
    try {
      if (!cookie && storage !== "memory") this.#kept.storage = part(this.#platform, storage);
      this.#kept.read((session) => (this.#held = session));
    } catch (e) {
      this.#fail(e);
    }
  }

  /** Takes over what others have put into the storage. */
  #look(): void {
    try {
      this.#kept.read((session) => this.#takeOver(session));
    } catch {
      // A storage that can't be read was told of when it was opened, or is when it is written.
    }
  }

  #heard(m?: Message): void {
    if (m?.kind === "active") {
      if (m.at! > this.#activeAt && m.at! <= this.#now()) {
        this.#activeAt = this.#sharedAt = m.at!;
        this.#idleTold = false;
      }
      return this.#tick();
    }
    const shared = this.#shared();
    if (shared) this.#look();
    const held = this.#held;
    const mine = this.#config.cookie || (held && m?.was === held.access);
    // The storage decides where there is one. It may be late, and may never have had what this tab holds.
    if (m?.kind === "out" && (mine || (shared && !m.was))) this.#takeOver(undefined);
    else if (m?.session && !shared && mine) this.#takeOver(m.session);
    this.#tick();
  }

  /** Makes another tab's session this one's. */
  #takeOver(next: Session | undefined): void {
    const held = this.#held;
    this.#kept.dirty = false;
    if (!next) {
      if (held || !this.#out) this.#become("sign-out", next, { source: "remote" });
    } else if (!held || !sameLogin(held, next)) this.#become("sign-in", next, { user: next.user, source: "remote" });
    else if (held.access !== next.access || held.refresh !== next.refresh)
      this.#become("refresh", next, { accessToken: next.access, source: "remote" });
    else this.#held = next; // which may be marked as being renewed
  }

  /** Replaces the session, and tells of it. Who waits for a refresh of the one before is told to look again. */
  #become<K extends "sign-in" | "sign-out" | "refresh">(
    event: K,
    next: Session | undefined,
    payload: AuthEvents[K],
  ): void {
    const was = this.#held?.access;
    const now = this.#now();
    const own = payload.source === "self";
    const shared = this.#shared();
    this.#generation++;
    this.#held = next;
    this.#snapshot = undefined;
    this.#failures = this.#pause = 0;
    if (event === "refresh") this.#refreshedAt = now;
    else {
      this.#out = !next;
      this.#refreshedAt = -Infinity;
      this.#refusals = [];
      this.#activeAt = now;
      this.#idleTold = false;
    }
    const flight = this.#flight;
    this.#flight = undefined;
    flight?.land();
    if (flight?.waiting) flight.stop.abort();
    // What another tab has put into the storage that both have stays as it is: it may be newer by now.
    if (own || !shared) this.#kept.write(this.#held);
    if (own) this.#tabs?.post({ kind: next ? "look" : "out", was, session: shared ? undefined : next });
    if (next || was) this.#events.emit(event, payload as any);
    this.#events.emit("change", undefined);
    this.#tick();
  }

  /** Does what is due now, and sets the timer for what is due next. */
  #tick(): void {
    clearTimeout(this.#timer);
    if (!this.#tabs) return;
    const held = this.#held;
    const now = this.#now();
    const waits: number[] = [];
    if (this.#kept.dirty) {
      this.#kept.write(this.#held);
      waits.push(30 * second);
    }
    if (this.#renewable() && !this.#flight && !(!held && this.#out)) {
      const life = held?.lifetimeMs;
      const due =
        !held || held.renewing
          ? 0
          : life
            ? Math.max(life - (this.#config.tokenExpiryBuffer ?? 30 * second), 0.8 * life) -
              this.#since(held.receivedAt)
            : Infinity;
      const wait = Math.max(due, second - this.#since(this.#refreshedAt), this.#pause - this.#since(this.#failedAt));
      if (wait <= 0) this.#begin();
      else if (wait < Infinity) waits.push(wait);
    }
    const idle = this.#config.inactivityTimeout;
    if (idle && held && !this.#idleTold) {
      const left = idle - (now - this.#activeAt);
      if (left <= 0) {
        this.#idleTold = true;
        this.#events.emit("inactivity-timeout", { source: "self" });
      } else waits.push(left);
      if (this.#activeAt > this.#sharedAt) {
        const rest = idle / 10 - (now - this.#sharedAt);
        if (rest <= 0) this.#tabs.post({ kind: "active", at: (this.#sharedAt = this.#activeAt) });
        else waits.push(rest);
      }
    }
    clearTimeout(this.#timer); // what was told above may have come here as well
    // A timer holds 24.8 days at most.
    if (waits[0]) this.#timer = setTimeout(() => this.#tick(), Math.min(day, ...waits));
  }

  /** Joins the refresh under way or begins one, unless it is too early after a failure. */
  async #renew(refused: boolean, signal?: AbortSignal): Promise<void> {
    if (!this.#flight && this.#since(this.#failedAt) < this.#pause) throw this.#failure;
    await until(this.#begin(refused).done, signal);
  }

  /** The refresh under way, begun if need be. */
  #begin(refused = false): Flight {
    if (this.#flight) return this.#flight;
    this.#linger?.();
    let land!: (error?: unknown) => void;
    const done = new Promise<void>((resolve, reject) => (land = (e) => (e ? reject(e) : resolve())));
    done.catch(() => {}); // nobody waits for one ahead of time
    const flight: Flight = (this.#flight = { done, land, stop: new AbortController(), waiting: true });
    void this.#fly(flight, refused);
    return flight;
  }

  /** Renews the session, once over all tabs: who has the lock looks first whether another has done it. */
  async #fly(flight: Flight, refused: boolean): Promise<void> {
    const generation = this.#generation;
    const current = () => {
      this.#look();
      return generation === this.#generation;
    };
    const { stop, land } = flight;
    const { signal, done } = limit(stop.signal, 30 * second);
    const { cookie, storage } = this.#config;
    const alone = storage === "memory" && !cookie;
    const run = async () => {
      if (!current()) return;
      flight.waiting = false;
      const old = this.#held;
      if (old && this.#kept.storage) {
        this.#held = { ...old, renewing: true };
        this.#kept.write(this.#held);
      }
      const next = await until(this.#ask(old, signal), signal);
      if (!current()) {
        // It came too late. If the present session is of the same login it would end with this one, so that stays.
        if (!this.#held || !sameLogin(this.#held, next)) this.#revoke(next).catch(() => {});
        return;
      }
      if (refused) this.#refusals.push(this.#now());
      // A cookie may be somebody else's by now.
      if (old && old.user?.id === next.user?.id)
        this.#become("refresh", next, { accessToken: next.access, source: "self" });
      else this.#become("sign-in", next, { user: next.user, source: "self" });
      // Storage takes a moment to reach tabs in other processes. Who gets the lock next must find the new tokens.
      // This tab needs no such wait: its next refresh ends it.
      if (!alone) await Promise.race([sleep(100), new Promise<void>((resolve) => (this.#linger = resolve))]);
    };
    try {
      await (alone ? run() : locked(this.#platform, this.#key + ":lock", this.#shared(), signal, run));
    } catch (e: any) {
      if (!current()) return; // of a session that nobody wants any more
      if (e.final) return this.#end(e, land);
      const bound = Math.min(second * 2 ** this.#failures++, 60 * second);
      this.#pause = Math.max(random(this.#platform) * bound, Math.min(e.retryAfter || 0, 600) * second);
      this.#failedAt = this.#now();
      this.#failure = e;
      this.#flight = undefined;
      land(e);
      this.#fail(e);
      this.#tick();
    } finally {
      done();
    }
  }

  async #ask(old: Session | undefined, signal: AbortSignal): Promise<Session> {
    const { refreshFn, refreshEndpoint = "/api/auth/refresh", cookie } = this.#config;
    const refreshToken = old?.refresh;
    let tokens: any;
    let date: number | undefined;
    if (refreshFn) tokens = await refreshFn(refreshToken, signal);
    else {
      try {
        const { res, body } = await this.#own(
          "POST",
          refreshEndpoint,
          cookie ? undefined : { refreshToken },
          undefined,
          signal,
        );
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
    if (!tokens?.accessToken) throw new HoldfastError("INTERNAL", "No accessToken in the answer");
    return makeSession(tokens, this.#now(), old, date);
  }

  /** Signs out because the server has ended the session. `land`: a refresh has told so. */
  #end(error: HoldfastError, land?: Flight["land"]): void {
    const held = this.#held;
    const generation = this.#generation;
    if (held && land) this.#events.emit("refresh-failed", { error, source: "self" });
    land?.(error);
    // Somebody may have signed in when he was told.
    if (generation === this.#generation) this.#become("sign-out", undefined, { source: "self", error });
    if (held) safely(() => this.#config.onUnauthorized?.(error));
  }

  /** Tells the server of a sign-out, by cookie where there is no session. That it has ended already is no error. */
  async #revoke(session?: Session): Promise<void> {
    const path = this.#config.signOutEndpoint ?? "/api/auth/sign-out";
    try {
      if (path) await this.#own("POST", path, session?.refresh && { refreshToken: session.refresh }, session?.access);
    } catch (e: any) {
      if (e.final) return;
      this.#fail(e);
      throw e;
    }
  }
}
