import type { Action } from "../codes.js";
import { sleep, within } from "../abort.js";
import { actionOf, HoldfastError, local, signedOut } from "../errors.js";
import type { EmitOptions, RealtimeSocket } from "../types.js";
import type { Emitter } from "../emitter.js";
import type { SocketDeps } from "./deps.js";
import { kit } from "./kit.js";
import { bad, decoder, encode, type Packet } from "./parser.js";
import { connectError, known, refusal, unwrap } from "../refusal.js";
import { openWebSocket, type Wire } from "./wire.js";

/** How a connection, or an attempt at one, ended. */
export interface Ending {
  error: HoldfastError;
  action: Action;
  /** Milliseconds since the server let it in; undefined: it never did. */
  lasted: number | undefined;
  /** The transport may be one that the network lets not through. */
  blocked: boolean;
}

/** A token that the server has refused, to be renewed before the next attempt. */
export type Refused = [token: string | null, error: HoldfastError];

/** What a connection needs of its socket. */
export interface Core {
  deps: SocketDeps;
  ns: string;
  /** Of the socket, by event name. */
  handlers: Emitter<any>;
  now: () => number;
  /** Who is signed in, `""` for nobody; undefined: the source does not say. */
  who: () => string | undefined;
  /** Milliseconds to wait after so many failures, with full jitter. */
  backoff: (attempts: number, error?: HoldfastError) => number;
  up: (link: Link) => void;
  down: (link: Link) => void;
  /** `auth:session` has come. */
  session: (link: Link) => void;
  event: (link: Link, args: any[], id: number | undefined) => void;
}

/** One attempt at a connection, and the connection that comes of it. */
export interface Link {
  /** Whose token it has; where the source doesn't say, who the server says it is. */
  user: string;
  /** The source has said so. */
  told: boolean;
  token: string | null;
  session: RealtimeSocket["session"];
  /** Epoch milliseconds of when the server let it in. */
  live: number | undefined;
  /** The queue goes out by what was known of the server. */
  sending?: boolean;
  /** Aborts at the end. */
  signal: AbortSignal;
  /** Settled when it is known whether the server is Holdfast, or at the end. */
  greeted: Promise<void>;
  has: (feature: string) => boolean | undefined;
  /** Throws MESSAGE_TOO_LARGE, or INVALID_ARGUMENT for what can't be encoded. */
  send: (type: number, data?: unknown, id?: number) => void;
  ask: (args: unknown[], options?: EmitOptions) => Promise<any[]>;
  /** Renews the token in band, for a reason or if there is a newer one; false: it can't be done. */
  renew: (reason?: HoldfastError) => boolean;
  /** Brings a newer token to the server, here or by the next connection. */
  takeNew: () => Promise<void>;
  /** Ends it if it should have heard of the server by now. */
  check: () => void;
  end: (error: HoldfastError, action?: Action, uncoded?: boolean) => void;
}

/** Begins an attempt; `done` hears once how it, or its connection, ended. */
export function openLink(
  core: Core,
  transport: string,
  refused: { pending?: Refused | undefined },
  done: (ending: Ending) => void,
): Link {
  const { deps, ns, now } = core;
  const { config, source, platform } = deps;
  const ctl = new AbortController();
  const { signal } = ctl;
  const acks = new Map<number, (error?: HoldfastError, args?: any[]) => void>();
  const decode = decoder();
  const polling = transport === "polling";
  let wire: Wire | undefined;
  let dialed = false;
  let closing: HoldfastError | undefined; // what the server announced
  let next = 0;
  let patience = 0; // the longest time between two pings; 0 before the handshake
  let most = 0; // maxPayload
  let heard: number;
  let refreshing: boolean | undefined;
  let again: HoldfastError | boolean | undefined; // asked for while refreshing
  let greet!: () => void;
  let greeting: ReturnType<typeof setTimeout> | undefined;
  const { connectTimeout = 20_000, ackTimeout = 30_000 } = config;
  let auth: Record<string, unknown> | undefined;
  let watch: ReturnType<typeof setTimeout> | undefined;
  // It ends where nothing is heard for so long.
  const wait = (ms: number) => {
    clearTimeout(watch);
    watch = setTimeout(() => end(local("TIMEOUT")), ms);
  };

  const open = async () => {
    try {
      let user: string | undefined;
      do {
        user = core.who();
        if (source) {
          const p = refused.pending;
          if (p) await source.refused(p[0]!, p[1], signal);
          refused.pending = undefined;
          link.token = await source.getAccessToken(signal);
          if (link.token === null) throw signedOut();
        }
      } while (user !== core.who() && !signal.aborted); // the token and the user belong together
      link.told = user !== undefined;
      link.user = user ?? "";
      const token = await link.token; // what ends an attempt at once would come before there is one
      auth = await (config.auth ? config.auth(token) : token ? { token } : undefined);
      if (signal.aborted) return;
      const url = new URL(config.path ?? "/socket.io/", deps.url().replace(/^ws/, "http"));
      for (const [k, v] of Object.entries({ ...config.query, EIO: "4", transport })) url.searchParams.set(k, v);
      dialed = true;
      const credentials = deps.withCredentials ? "include" : "same-origin";
      const opener = polling ? (await import("./polling.js")).openPolling : openWebSocket;
      if (!signal.aborted) wire = opener({ url, platform, credentials, frame, closed: end }, kit);
    } catch (e) {
      const error = asError(e); // also of no WebSocket, or a chunk that can't be loaded
      end(error, error.final ? "stop" : "wait");
    }
  };

  const end: Link["end"] = (error, action = "reconnect", uncoded) => {
    if (signal.aborted) return;
    ctl.abort();
    clearTimeout(watch);
    clearTimeout(greeting);
    greet();
    wire?.close();
    core.down(link);
    for (const fn of acks.values()) fn(local("CONNECTION_LOST"));
    done({
      error: closing ?? error,
      action: closing ? actionOf(closing) : action,
      lasted: link.live && now() - link.live,
      blocked: dialed && !link.live && !closing && (!!uncoded || !known(error.code)),
    });
  };

  const alive = () => {
    heard = now();
    wait(patience);
  };

  const frame = (text: string | ArrayBuffer) => {
    if (signal.aborted) return;
    try {
      if (typeof text !== "string") return packet(decode(text));
      const rest = text.slice(1);
      const type = text[0];
      if (!patience) {
        if (type !== "0") bad();
        const { sid, pingInterval, pingTimeout, maxPayload } = JSON.parse(rest);
        patience = pingInterval + pingTimeout;
        if (typeof sid !== "string" || !(pingInterval > 0 && pingTimeout > 0 && patience < 2 ** 31)) bad();
        most = +maxPayload || 0;
        heard = now();
        return link.send(0, auth);
      }
      if (type === "4") packet(decode(rest));
      else if (type === "2") {
        if (link.live) alive();
        wire!.send(["3" + rest]);
      } else if (type === "1") end(local("CONNECTION_LOST"));
      else if (type !== "3" && type !== "6") bad();
    } catch (e) {
      end(asError(e));
    }
  };

  const packet = (p: Packet | undefined) => {
    if (p?.ns !== ns) return;
    const { type, data, id } = p;
    if (type === 4) {
      const error = connectError(data);
      end(error, actionOf(error));
    } else if (type === 1) end(local("CONNECTION_LOST", undefined, true), "stop");
    else if (type === 0) {
      if (link.live) return;
      if (link.told && core.who() !== link.user) return end(signedOut(false));
      link.live = now() || 1;
      alive();
      greeting = setTimeout(greet, 1000); // a Holdfast server says auth:session at once
      core.up(link);
    } else if (!link.live) bad();
    else if (type === 3) {
      greet();
      acks.get(id!)?.(undefined, data);
    } else event(data, id);
  };

  const event = (args: any[], id: number | undefined) => {
    const [name, data] = args;
    if (name[0] === "\0") return; // the first letter of our own handlers' keys
    if (name === "auth:session" && typeof data?.connection === "string") {
      if (link.sending && !link.session) return end(local("CONNECTION_LOST"));
      link.session = data;
      core.session(link);
    } else if (name === "auth:expiring") {
      // One of a token that has been replaced since asks for nothing.
      if (!(data?.reason === "expiry" && data.expiresAt < link.session?.expiresAt!))
        link.renew(refusal(/^perm/.test(data?.reason) ? "PERMISSION_VERSION_STALE" : "TOKEN_EXPIRED", name));
    } else if (name === "auth:closing" && known(data?.code)) closing = refusal(data.code, data.message, data);
    greet();
    if (!signal.aborted) core.event(link, args, id);
  };

  // Presents a newer token until the server takes it or it is refused for good.
  const renew = async (reason?: HoldfastError) => {
    for (let tries = 0; !signal.aborted; ) {
      try {
        let token = await source!.getAccessToken(signal);
        if (token === link.token) {
          if (!reason) break;
          await source!.refused(token!, reason, signal);
          token = await source!.getAccessToken(signal);
        }
        const answer = unwrap(await link.ask(["auth:refresh", { token }]));
        link.token = token;
        link.session = { ...link.session!, expiresAt: answer?.expiresAt };
        break;
      } catch (e) {
        const error = asError(e);
        if (error.final || tries > 2) break; // the server closes it, and the rules decide
        await sleep(core.backoff(++tries, error), signal).catch(() => {});
      }
    }
    refreshing = false;
    const why = again;
    again = false;
    if (why) link.renew(why === true ? undefined : why);
  };

  const link: Link = {
    user: "",
    told: false,
    token: null,
    session: undefined,
    live: undefined,
    signal,
    greeted: new Promise((r) => (greet = r)),
    has: (feature) => link.session?.features?.includes(feature),
    send(type, data, id) {
      const frames = encode(type, ns, id, data);
      const sizes = frames.map((f) => size(f) * (polling && f !== frames[0] ? 1.34 : 1)); // base64
      // Any Socket.IO server bounds each frame, or a request's body, Holdfast a packet as a whole.
      const total = link.session || polling ? sizes.reduce((a, b) => a + b) : Math.max(...sizes);
      if (most && total > most) throw local("MESSAGE_TOO_LARGE", `${total} bytes, over ${most}`);
      wire!.send(frames);
    },
    async ask(args, { signal: caller, timeout = ackTimeout } = {}) {
      if (signal.aborted) throw local("NOT_CONNECTED");
      const id = next++;
      const ask = () =>
        new Promise<any[]>((resolve, reject) => {
          link.send(2, args, id);
          acks.set(id, (error, answer) => (error ? reject(error) : resolve(answer!)));
        });
      return within(caller, timeout, ask).finally(() => acks.delete(id));
    },
    renew(reason) {
      if (!source || !link.has("refresh")) return false;
      // A token that was asked for before the rights have changed is stale as well. That it expires, the next one's time tells.
      if (refreshing) again = reason?.code[0] === "P" ? reason : again || !reason;
      else {
        refreshing = true;
        void renew(reason);
      }
      return true;
    },
    async takeNew() {
      await link.greeted;
      if (signal.aborted || link.renew()) return;
      const token = await source!.getAccessToken(signal).catch(() => null);
      if (token && token !== link.token) end(local("CONNECTION_LOST"));
    },
    check() {
      if (patience && now() - heard > patience) end(local("TIMEOUT"));
    },
    end,
  };
  wait(connectTimeout);
  void open();
  return link;
}

const asError = (e: unknown): HoldfastError => (e instanceof HoldfastError ? e : local("NETWORK", `${e}`, false, e));

// Bytes on the wire.
const size = (f: any): number => f.size ?? f.byteLength ?? new TextEncoder().encode(f).length;
