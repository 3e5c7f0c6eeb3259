import { check, until } from "../abort.js";
import { Emitter, report, safely } from "../emitter.js";
import { HoldfastError, local, signedOut, there, unloaded } from "../errors.js";
import type { Queue } from "../queue/queue.js";
import { unwrap } from "../refusal.js";
import { clock, listen, part, random, wakes } from "../surroundings.js";
import type { ConnectionState, EmitOptions, EventMap, Position, RealtimeSocket, SocketState } from "../types.js";
import type { SocketDeps } from "./deps.js";
import { kit } from "./kit.js";
import { lateRooms } from "./late.js";
import { openLink, type Ending, type Link, type Refused } from "./link.js";
import { encode } from "./parser.js";
import type { RoomsCore } from "./rooms.js";

/** The time from a `connect` to the end of its attempts. */
interface Run {
  off: (() => void)[];
  /** The wait for the next attempt. */
  timer?: ReturnType<typeof setTimeout> | undefined;
  /** Makes the next attempt now; fresh: as if it were the first. */
  hurry: (fresh?: boolean) => void;
}

// Keys of handlers that no event's name can be. The queue's code has two more.
const ANY = "\0a";
const STATE = "\0s";

/** Makes a socket. Nothing happens before it is used. */
export function createSocket<E extends EventMap = EventMap>(deps: SocketDeps): RealtimeSocket<E> {
  const { config, source, platform } = deps;
  const { minBackoff = 1000, maxBackoff = 30_000, transports = ["websocket", "polling"] } = config;
  const handlers = new Emitter<any>();
  const none: never[] = []; // always the same, as a snapshot must be
  const answers = new Map<string, (data: any) => unknown>();
  let state: ConnectionState = { state: "disconnected", connected: false, connecting: false, final: true };
  let run: Run | undefined;
  let link: Link | undefined; // of the present attempt
  let up: Link | undefined; // once the server has let it in
  let at = 0; // in transports
  let failures = 0; // in a row of that transport
  let queue: Queue | undefined;
  let loading: Promise<Queue> | undefined;
  let owner = ""; // of the rooms: the last user

  const set = (name: SocketState, error?: HoldfastError, final = false, retryAt?: number) => {
    state = {
      state: name,
      connected: name === "connected",
      connecting: name === "connecting",
      final,
      transport: transports[at]!,
      ...there({ error, retryAt }),
    };
    handlers.emit(STATE, state);
  };
  const ceiling = (attempts: number) => Math.min(minBackoff * 2 ** Math.max(attempts - 1, 0), maxBackoff);

  const core: RoomsCore = {
    deps,
    ns: config.namespace ?? "/",
    handlers,
    now: () => clock(platform),
    who: () => source?.getUser && (source.getUser()?.id ?? ""),
    backoff: (attempts, error) => random(platform) * ceiling(attempts) + (error?.retryAfter ?? 0) * 1000,
    up(l) {
      up = l;
      if (l.told) own(l.user);
      set("connected");
      if (up === l) rooms.tell((r) => r.up(l));
      rooms.load();
      useQueue()?.then((q) => q.up(l), report);
    },
    down(l) {
      if (up !== l) return;
      up = undefined;
      rooms.tell((r) => r.down());
    },
    session(l) {
      if (core.who() !== undefined) return;
      l.user = l.session!.user?.id ?? "";
      if (own(l.user)) l.end(signedOut(false));
    },
    current: () => (up?.told && core.who() !== up.user ? undefined : up),
    event(l, [name, ...args], id) {
      const tell = rooms.take(l, name, args);
      if (!tell) return;
      if (config.onReceive) {
        let pass: unknown[] | null | void = null; // an interceptor that throws keeps it back
        safely(() => (pass = config.onReceive!(name, args)));
        if (pass === null) return;
        args = (pass as unknown[] | undefined) ?? args;
      }
      handlers.emit(ANY, name, args);
      handlers.emit(name, args[0], (args[1] as any)?.room ? args[1] : {});
      tell(args[0]);
      if (id !== undefined && answers.has(name)) void answer(l, id, answers.get(name)!, args[0]);
    },
    async ask(event, data, signal) {
      source?.touch?.();
      return unwrap(await needed().ask([event, data], { signal: signal! }));
    },
    none,
    rest: (name) => ({
      publish: (event, data, options) => socket.publish(name, event, data, options),
      presence: (signal) => core.ask("presence:get", { room: name }, signal),
    }),
  };
  const rooms = lateRooms(core, () => up, () => run);

  // Notes whose rooms they are from now on; true: they were somebody else's, and are dropped.
  const own = (user?: string): boolean => {
    const changed = !!user && !!owner && user !== owner;
    owner = user || owner;
    if (changed) rooms.tell((r) => r.drop());
    return changed;
  };

  const answer = async (l: Link, id: number, fn: (data: any) => unknown, data: unknown) => {
    let out: unknown;
    try {
      out = { ok: true, data: (await fn(data)) ?? null };
    } catch (e) {
      // What has no code stays here.
      const { code = "INTERNAL", message = "" } = e instanceof HoldfastError ? e : (report(e), {});
      out = { ok: false, error: { code, message } };
    }
    if (!l.signal.aborted) l.send(3, [out], id);
  };

  const needed = (): Link => {
    const l = core.current();
    if (!l) throw local("NOT_CONNECTED");
    return l;
  };

  const stop = (r: Run | undefined, error: HoldfastError, name: SocketState = "disconnected") => {
    if (run !== r) return;
    run = undefined;
    if (r) {
      for (const off of r.off) off();
      clearTimeout(r.timer);
      link!.end(error);
    }
    rooms.stopped(error);
    set(name, error, true);
  };

  // The queue's code is loaded when it is needed; a load that fails is tried again.
  const useQueue = () =>
    config.queue
      ? (loading ??= import("../queue/queue.js")
          .then((m) => m.openQueue(core, kit))
          .then(
            (q) => {
              queue = q;
              if (q.items[0] || q.dead[0]) handlers.emit("\0q", undefined); // what was there already
              return q;
            },
            (e) => {
              loading = undefined;
              throw unloaded(e);
            },
          ))
      : undefined;

  // Compares the socket with who is signed in.
  const look = () => {
    const changed = own(core.who());
    if (up?.told && core.who() !== up.user) up.end(signedOut(false));
    else void up?.takeNew();
    if (changed) run?.hurry(true);
  };

  const start = () => {
    let attempts = 0; // in a row without a connection that lasted
    let renewals = 0; // in a row
    let ever = false;
    let told: number | undefined; // how long the server sends it away
    const refused: { pending?: Refused | undefined } = {};

    const attempt = () => {
      r.timer = undefined;
      if (!part(platform, "WebSocket") && transports[at] === "websocket") at = (at + 1) % transports.length;
      link = openLink(core, transports[at]!, refused, ended);
    };

    const ended = ({ error, action, lasted, blocked }: Ending) => {
      if (run !== r) return;
      const l = link!;
      const polling = transports[at] === "polling";
      if (lasted !== undefined) {
        ever = true;
        if (lasted >= ceiling(attempts)) attempts = 0;
        if (lasted >= 5000) renewals = 0;
        failures = 0;
        if (polling && lasted > 60_000) {
          at = 0; // the network may be another one by now
          failures = 1; // one more is enough
        }
      } else if (blocked) {
        if (action === "stop" && ever) action = "wait"; // a proxy without its backend, more likely than a wrong address
        if (polling || ++failures > 1) {
          at = (at + 1) % transports.length;
          failures = 0;
        }
      }
      attempts++;
      if (l.told && core.who() !== l.user) action = "reconnect"; // whatever was wrong with the other's
      let wait = core.backoff(attempts, error);
      if (/^refresh/.test(action)) {
        if (!source || renewals >= (action === "refresh" ? 3 : 1)) action = "stop";
        else {
          if (!renewals++) wait = (error.retryAfter ?? 0) * 1000;
          refused.pending = [l.token, error];
        }
      }
      if (!/^(wait|rec|refresh)/.test(action)) {
        stop(r, error);
        if (action === "signed-out" && l.token) source?.refused(l.token, error).catch(() => {});
        return;
      }
      told = error.retryAfter;
      r.timer = setTimeout(attempt, wait);
      set("connecting", error, false, core.now() + wait);
    };

    const r: Run = {
      off: [listen(part(platform, "events"), wakes, () => r.hurry())],
      hurry(fresh) {
        if (!r.timer) return link!.check();
        if (fresh) {
          attempts = renewals = 0;
          refused.pending = undefined;
        } else if (told) return; // the server has said when
        clearTimeout(r.timer);
        attempt();
      },
    };
    run = r;
    if (source?.on)
      r.off.push(
        source.on("sign-in", look),
        source.on("refresh", look),
        source.on("sign-out", (e) => stop(r, local("SIGNED_OUT", "Signed out", true, e.error))),
      );
    attempt();
    set("connecting");
  };

  // Sends an event, or gives it to the queue.
  const send = async (ack: boolean, event: string, data: unknown, options: EmitOptions = {}): Promise<any> => {
    const { signal, volatile } = options;
    check(signal);
    if (
      !/^[^\p{Cc}]{1,128}$/u.test(event) ||
      /^(connect(_error)?|disconnect(ing)?|newListener|removeListener)$/.test(event)
    )
      throw local("INVALID_ARGUMENT", `No event name: ${event}`);
    source?.touch?.();
    let args: unknown[] = data === undefined ? [] : [data];
    const changed = config.onSend?.(event, args);
    if (changed === null) {
      if (ack) throw local("CANCELED", "Dropped by onSend", true);
      return;
    }
    args = [event, ...(changed ?? args)];
    const frames = config.queue && !volatile && encode(2, "/", undefined, args); // as they are now
    const turn = rooms.before(signal);
    if (turn || frames) await turn;
    if (frames) return (await useQueue()!).add(frames, options, ack);
    if (ack) return unwrap(await needed().ask(args, options));
    (volatile ? core.current() : needed())?.send(2, args);
  };

  const socket: RealtimeSocket<E> = {
    async connect(signal) {
      check(signal);
      const mine = !run;
      if (mine) start();
      const r = run;
      let off!: () => void;
      const settled = new Promise<void>((resolve, reject) => {
        const look = () => {
          if (state.connected) resolve();
          else if (state.final) reject(state.error);
        };
        off = handlers.on(STATE, look);
        look();
      });
      try {
        await until(settled, signal);
      } catch (e: any) {
        if (mine && signal?.aborted) stop(r, e);
        throw e;
      } finally {
        off();
      }
    },
    close() {
      if (state.state === "closed") return;
      const error = local("CLOSED", undefined, true);
      up?.send(1);
      stop(run, error, "closed");
      queue?.closed(error);
    },
    get state() {
      return state;
    },
    subscribe: (fn) => handlers.on(STATE, fn),
    on: (event, fn) => handlers.on(event, fn),
    once: (event, fn) => handlers.on(event, fn, true),
    off: (event, fn) => handlers.off(event, fn),
    onAny: (fn) => handlers.on(ANY, fn),
    handle(event, fn) {
      answers.set(event, fn);
      return () => void (answers.get(event) === fn && answers.delete(event));
    },
    emit: (event, data, options) => send(false, event, data, options),
    emitAck: (event, data, options) => send(true, event, data, options),
    join(room, options) {
      own(core.who());
      return rooms.join(room, options) as any;
    },
    publish: (room, event, data, { id, signal } = {}) =>
      send(true, "room:publish", { room, event, data, id }, { signal: signal! }) as Promise<Position>,
    get session() {
      return up?.session;
    },
    get queued() {
      return queue?.items ?? none;
    },
    get dead() {
      return queue?.dead ?? none;
    },
    onDead: (fn) => handlers.on("\0d", fn),
    subscribeQueue(fn) {
      useQueue()?.catch(report);
      return handlers.on("\0q", fn);
    },
  };
  return socket;
}
