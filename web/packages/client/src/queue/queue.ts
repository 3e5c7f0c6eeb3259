import type { ErrorCode, HoldfastError } from "../errors.js";
import type { Channel } from "../platform.js";
import type { DeadItem, EmitOptions, QueueConfig, QueueItem } from "../types.js";
import type { Kit } from "../socket/kit.js";
import type { Core, Link } from "../socket/link.js";
import type { Binary, Frames } from "../socket/parser.js";
import { newId } from "./id.js";
import { idbStore, memoryStore, type QueueState, type QueueStore } from "./store.js";

// Keys of the socket's handlers.
const DEAD = "\0d";
const QUEUE = "\0q";

/** The queue of a socket, this module's only product: the module is loaded when it is needed. */
export interface Queue {
  readonly items: readonly QueueItem[];
  readonly dead: readonly DeadItem[];
  /** Keeps an event. With `ack` it resolves with the ack's data, else when it is kept. */
  add(frames: Frames, options: EmitOptions, ack: boolean): Promise<any>;
  /** Sends what waits, while the connection lives. */
  up(link: Link): void;
  /** Nobody waits for acks any more; what was not sent is withdrawn. */
  closed(error: HoldfastError): void;
}

/** Somebody who waits for an ack. */
interface Waiter {
  settle: (error?: HoldfastError, data?: unknown) => void;
  withdraw: (error: HoldfastError) => void;
  timeout: number;
  timer?: ReturnType<typeof setTimeout>;
  kept?: boolean;
  sent?: boolean;
}

/** How the sending of an item ended: acknowledged with data, or refused for good. */
interface Outcome {
  data?: unknown;
  dead?: HoldfastError;
}

/** Opens a socket's queue. */
export async function openQueue(core: Core, kit: Kit): Promise<Queue> {
  const { report, actionOf, known, local, part, reason: canceled, sleep, until, unwrap } = kit;
  const { deps, handlers, ns, now } = core;
  const { platform, source } = deps;
  const config: QueueConfig = deps.config.queue === true ? {} : deps.config.queue! as QueueConfig;
  const { name = "holdfast", maxItems = 200, maxBytes = 1 << 20 } = config;
  const ackTimeout = deps.config.ackTimeout ?? 30_000;
  const tab = newId(now());
  const waiters = new Map<string, Waiter>();
  const withdrawn = new Set<string>(); // and perhaps still there
  let wake: (() => void)[] = [];
  let items: QueueItem[] = [];
  let dead: DeadItem[] = [];
  let last: QueueState | undefined;
  let seen: string | undefined; // the last connection's user, where the source doesn't tell

  // IndexedDB that is missing, blocked, full or broken: memory goes on, with
  // what is known of it. That an item is sent by two then has no effect twice.
  let broken: QueueStore | undefined;
  const lost = (e: unknown) => {
    if (!broken) report(e);
    return (broken ??= memoryStore(last));
  };
  const factory = config.storage === "memory" ? undefined : part(platform, "indexedDB");
  let store: QueueStore = factory
    ? await new Promise<QueueStore>((r) => r(idbStore(factory, name))).catch(lost)
    : memoryStore();

  const Bus = factory && part(platform, "BroadcastChannel");
  let bus: Channel | undefined;
  let over = false; // since `closed`, the channel is open for a message at a time

  const change = async <T>(fn: (state: QueueState) => T): Promise<T> => {
    let result: [QueueState, T];
    try {
      result = await store.change(fn);
    } catch (e) {
      store = lost(e);
      result = await store.change(fn);
    }
    show(result[0]);
    return result[1];
  };

  const show = (state: QueueState) => {
    const print = (s?: QueueState) => (s ? `${s.items.map((i) => i.id)};${s.dead.map((d) => d.item.id)}` : ";");
    const changed = print(last) !== print(state);
    last = state;
    if (!changed) return;
    items = state.items.map(({ bytes: _, ...item }) => item);
    dead = state.dead.map((d) => ({ item: d.item, error: local(d.code as ErrorCode, d.message, true) }));
    const waiting = wake;
    wake = [];
    for (const fn of waiting) fn();
    handlers.emit(QUEUE, undefined);
  };

  const tell = (message?: unknown) => {
    listen()?.postMessage(message);
    if (over) mute();
  };
  const look = () => change(() => {}).catch(report);
  const mute = () => (bus = void bus?.close());
  const listen = () => {
    if (bus || !Bus) return bus;
    bus = new Bus(`${name}:queue`);
    bus.onmessage = ({ data }: { data: any }) => {
      if (data) waiters.get(data.id)?.settle(data.code && local(data.code, data.message, true), data.data);
      void look().then(() => {
        // Sent by a tab that had no time to say so.
        const elsewhere = local("CONNECTION_LOST", "Another tab has sent it", true);
        for (const [id, w] of waiters) if (w.kept && !items.some((i) => i.id === id)) w.settle(elsewhere);
      });
    };
    return bus;
  };

  // Waits for a change; not for ever, where other tabs can't tell.
  const next = async (link: Link) => {
    const change = new Promise<void>((r) => wake.push(r));
    const poll = !Bus && factory ? sleep(1000, link.signal).then(look) : change;
    await until(Promise.race([change, poll]), link.signal).catch(() => {});
  };

  const pause = (link: Link, ms: number) => sleep(ms, link.signal).catch(() => {});

  const sender = async (): Promise<string> => {
    const user = core.who();
    if (user) return user;
    if (user === undefined && seen !== undefined) return seen;
    const token = await source?.getAccessToken();
    if (source && token === null) throw local("SIGNED_OUT", "Nobody is signed in", true);
    const sub = user === "" ? "" : subject(token);
    if (sub === undefined) throw local("NOT_CONNECTED", "connect first: whose event is it?");
    return sub;
  };

  const remove = (id: string, error?: HoldfastError): Promise<QueueItem | undefined> =>
    change((s) => {
      const i = s.items.findIndex((x) => x.id === id);
      if (i < 0) return;
      const [item] = s.items.splice(i, 1);
      const { bytes: _, ...rest } = item!;
      if (error) s.dead = [...s.dead, { item: rest, code: error.code, message: error.message }].slice(-100);
      return rest;
    });

  // Puts an event behind the others. False: it was withdrawn meanwhile.
  const keep = async (frames: Frames, id: string): Promise<void> => {
    const [[event, ...args], bytes] = await thaw(frames, kit.decoder(Infinity));
    const item = { id, user: await sender(), namespace: ns, event, args, createdAt: now(), bytes };
    const dropped = await change((s) => {
      const out: QueueItem[] = [];
      const over = () => s.items.length >= maxItems || s.items.reduce((n, i) => n + i.bytes, bytes) > maxBytes;
      if (bytes > maxBytes || (over() && !config.dropOldest)) return;
      while (over()) out.push(s.items.shift()!);
      s.items.push(item);
      return out;
    });
    if (!dropped) throw local("QUEUE_FULL", `over ${maxItems} items or ${maxBytes} bytes`);
    for (const d of dropped) {
      waiters.get(d.id)?.settle(local("QUEUE_FULL", "dropped to make room", true));
      try {
        config.onDropped?.(d);
      } catch (e) {
        report(e);
      }
    }
    tell();
  };

  let tail: Promise<unknown> = Promise.resolve(); // bytes and tokens may take a while; the order stays
  const add: Queue["add"] = (frames, { signal, timeout = ackTimeout }, ack) => {
    const id = newId(now());
    const kept = tail.then(() => {
      if (signal?.aborted) throw canceled(signal);
      return keep(frames, id);
    });
    tail = kept.catch(() => {});
    if (!ack) return kept;
    return new Promise((resolve, reject) => {
      const w: Waiter = {
        timeout,
        settle(error, data) {
          waiters.delete(id);
          clearTimeout(w.timer);
          signal?.removeEventListener("abort", abort);
          if (error) reject(error);
          else resolve(data);
        },
        withdraw(error) {
          w.settle(error);
          if (w.sent) return; // it may have had its effect: the queue goes on with it
          withdrawn.add(id);
          void kept
            .then(() => remove(id))
            .then(() => tell())
            .catch(() => {})
            .finally(() => withdrawn.delete(id));
        },
      };
      const abort = () => w.withdraw(canceled(signal!));
      waiters.set(id, w);
      signal?.addEventListener("abort", abort);
      kept.then(() => (w.kept = true), w.settle);
    });
  };

  // Sends an item until it is acknowledged, or refused for good. Undefined: the connection ended before.
  const send = async (link: Link, item: QueueItem, ids: boolean): Promise<Outcome | undefined> => {
    const args = [item.event, ...item.args, ...(ids ? [{ $hf: { id: item.id } }] : [])];
    let timeouts = 0;
    let renewals = 0;
    for (let tries = 1; !link.signal.aborted; tries++) {
      try {
        return { data: unwrap(await link.ask(args)) };
      } catch (e) {
        const error = e instanceof kit.HoldfastError ? e : local("INTERNAL", `${e}`);
        const action = actionOf(error);
        if (link.signal.aborted) return;
        if (error.code === "TIMEOUT") {
          if (!ids && ++timeouts > 2) return { dead: error };
        } else if (!known(error.code)) return { dead: error };
        else if (action === "signed-out") return link.end(error, action), undefined;
        else if (/^refresh/.test(action)) {
          if (++renewals > 1 && action !== "refresh") return { dead: error };
          if (renewals < 4) link.renew(error);
        } else if (action !== "wait" && action !== "reconnect") return { dead: error };
        await pause(link, core.backoff(tries, error));
      }
    }
    return;
  };

  const drain = async (link: Link, ids: boolean) => {
    for (;;) {
      const item = items.find((i) => i.user === link.user && i.namespace === ns);
      if (link.signal.aborted) return;
      if (!item) {
        await next(link);
        continue;
      }
      const { id } = item;
      if (withdrawn.has(id)) {
        await remove(id);
        continue;
      }
      const w = waiters.get(id);
      if (w) {
        if (!w.sent) w.timer = setTimeout(() => w.settle(local("TIMEOUT", "no ack")), w.timeout);
        w.sent = true;
      }
      const r = await send(link, item, ids);
      if (!r) return;
      const { data, dead: error } = r;
      waiters.get(id)?.settle(error, data); // which may be another one than before
      if (await remove(id, error)) if (error) handlers.emit(DEAD, { item, error });
      tell({ id, data, code: error?.code, message: error?.message });
    }
  };

  // Only one tab sends a lane: the one that has its Web Lock, or its lease.
  const lead = async (link: Link, run: () => Promise<void>): Promise<void> => {
    const lane = `${name}:${ns}:${link.user}`;
    const locks = part(platform, "locks");
    if (!factory || broken) return run();
    if (locks) return locks.request(lane, { signal: link.signal }, run).catch((e) => {
      if (!link.signal.aborted) throw e;
    }) as Promise<void>;
    const hold = () =>
      change((s) => {
        const l = s.leases[lane];
        const left = l ? l.until - now() : 0;
        // What a wrong clock has written holds nobody up.
        if (l?.by !== tab && left > 0 && left <= 10_000) return false;
        s.leases[lane] = { by: tab, until: now() + 10_000 };
        return true;
      });
    while (!(await hold())) {
      await pause(link, 2000);
      if (link.signal.aborted) return;
    }
    const timer = setInterval(() => void hold(), 3000);
    await run().finally(() => {
      clearInterval(timer);
      return change((s) => void (s.leases[lane]?.by === tab && delete s.leases[lane]));
    });
  };

  listen();
  await look();
  return {
    get items() {
      return items;
    },
    get dead() {
      return dead;
    },
    add,
    async up(link) {
      over = false;
      listen();
      await link.greeted;
      if (link.signal.aborted) return;
      link.sending = true;
      if (core.who() === undefined) seen = link.user;
      for (let tries = 1; !link.signal.aborted; tries++) {
        await lead(link, async () => {
          await look(); // what other tabs have done meanwhile
          await drain(link, !!link.has("id"));
        }).catch(report);
        if (!link.signal.aborted) await pause(link, core.backoff(tries));
      }
    },
    closed(error) {
      for (const w of waiters.values()) w.withdraw(error);
      over = true;
      mute();
    },
  };
}

// The event that frames are, with bytes for Blobs, and its size.
async function thaw(
  [text, ...attachments]: Frames,
  decode: ReturnType<Kit["decoder"]>,
): Promise<[event: any[], bytes: number]> {
  let p = decode(text.slice(1));
  let bytes = new TextEncoder().encode(text).length;
  for (const a of attachments) {
    const b = await buffer(a);
    bytes += b.byteLength;
    p = decode(b);
  }
  return [p!.data, bytes];
}

async function buffer(b: Binary): Promise<ArrayBuffer> {
  if ("size" in b) return b.arrayBuffer();
  if (!ArrayBuffer.isView(b)) return b.slice(0);
  return b.buffer.slice(b.byteOffset, b.byteOffset + b.byteLength) as ArrayBuffer;
}

// The sub of a JWT, unverified: it only keeps one user's events from another's.
function subject(token: string | null | undefined): string | undefined {
  try {
    const { sub } = JSON.parse(atob(token!.split(".")[1]!.replace(/-/g, "+").replace(/_/g, "/")));
    return typeof sub === "string" && sub ? sub : undefined;
  } catch {
    return undefined;
  }
}
