import type { Emitter } from "../emitter.js";
import type { HoldfastError } from "../errors.js";
import type { EventMeta, JoinOptions, Position, Present, PresenceEvent, Room } from "../types.js";
import type { Kit } from "./kit.js";
import type { Core, Link } from "./link.js";

type Timer = ReturnType<typeof setTimeout>;

interface Holder {
  handlers: Emitter<any>;
  gone: boolean;
  resolve: (p: Position) => void;
  reject: (e: HoldfastError) => void;
}

/** What the holders of a room share. */
interface Shared {
  name: string;
  holders: Holder[];
  /** Of the last event; undefined: never joined. */
  at: Position | undefined;
  /** It is a member, or asks to be, on the present connection. */
  member?: boolean;
  asked?: boolean;
  /** It was a member once. */
  settled?: boolean;
  /** Refusals in a row, those of them that asked for a new token, and the wait for the next try. */
  tries: number;
  renewals: number;
  retry?: Timer | undefined;
  /** What others are to see of the user, and what the server was told of it. */
  shown?: unknown;
  told?: unknown;
  typed: number;
  typers: Map<string, [end: Timer, user: Present]>;
  present: readonly Present[];
  signals: Map<string, unknown>;
  pace?: Timer | undefined;
}

/** What rooms need of their socket beside what a connection does. */
export interface RoomsCore extends Core {
  /** The connection to send on. */
  current: () => Link | undefined;
  /** Emits one of the protocol's own events past the queue; the ack's data. */
  ask: (event: string, data: unknown, signal?: AbortSignal) => Promise<any>;
  /** Nobody: always the same, as a snapshot must be. */
  none: never[];
  /** What of a room needs none of its state. */
  rest: (room: string) => Pick<Room, "publish" | "presence">;
}

/** The rooms of a socket. */
export type Rooms = ReturnType<typeof createRooms>;

// Keys of handlers that no event's name can be.
const ANY = "\0a";
const RESET = "\0r";
const LEFT = "\0l";
const PRESENCE = "\0p";
const TYPING = "\0t";
const SIGNAL = "\0s";

/** Makes the rooms of a socket. This module is loaded by the first join. */
export function createRooms(core: RoomsCore, { Emitter, actionOf, local, refusalOf, unwrap }: Kit) {
  const rooms = new Map<string, Shared>();
  const leaving = new Set<string>(); // rooms whose leaving the server has not seen
  let link: Link | undefined;

  const tell = (r: Shared, key: string, ...args: [any, ...unknown[]]) => {
    for (const h of [...r.holders]) h.handlers.emit(key, ...args);
  };

  const ask = (r: Shared) => {
    const l = link;
    if (!l || r.asked || r.member || r.retry || leaving.has(r.name)) return;
    if (l.told && core.who() !== l.user) return; // the next connection will be theirs
    r.asked = true;
    r.told = r.shown;
    const payload = { room: r.name, since: r.at, presence: r.shown };
    l.ask(["room:join", payload]).then(unwrap).then(
      (ack) => joined(l, r, ack),
      (e) => joined(l, r, undefined, e),
    );
  };

  // Asks for the rooms that are not asked for yet, 32 at a time.
  const askMore = () => {
    let under = 0;
    for (const r of rooms.values()) if (r.asked) under++;
    for (const r of rooms.values()) if (under < 32 && !r.asked && !r.member) ask(r), r.asked && under++;
  };

  const joined = (l: Link, r: Shared, ack: any, error?: HoldfastError) => {
    if (link !== l || rooms.get(r.name) !== r || !r.asked) return; // left, or asked anew, meanwhile
    r.asked = false;
    if (!error && !ack?.epoch) error = local("PROTOCOL_ERROR", "The server gave no position");
    if (error) refused(l, r, error);
    else {
      r.member = r.settled = true;
      r.tries = r.renewals = 0;
      const { epoch, offset } = ack;
      const missed = ack.recovered === false && r.at;
      if (missed || !r.at || r.at.epoch !== epoch || r.at.offset < offset) r.at = { epoch, offset };
      if (missed) tell(r, RESET, r.at);
      for (const h of r.holders) h.resolve(r.at);
      if (ack.presence || ack.viewers) presence(r, { kind: "sync", users: ack.presence ?? [] });
      if (ack.viewers) presence(r, { kind: "paused" });
      if (r.told !== r.shown) void show(r).catch(() => {});
    }
    askMore();
  };

  // The first refusal is the joiner's to hear of; a room that it was in is
  // asked for again where the server says that it may work later, until it
  // does. New tokens are tried five times.
  const refused = (l: Link, r: Shared, error: HoldfastError) => {
    const action = actionOf(error);
    r.tries++;
    const later = action === "wait" || action === "reconnect" || (/^refresh/.test(action) && ++r.renewals < 6 && l.renew(error));
    if (!r.settled || !later) return expel(r, error);
    r.retry = setTimeout(() => {
      r.retry = undefined;
      ask(r);
    }, core.backoff(r.tries, error));
  };

  const quiet = (r: Shared) => {
    r.member = r.asked = false;
    clearTimeout(r.retry);
    clearTimeout(r.pace);
    r.retry = r.pace = undefined;
    r.signals.clear();
    for (const [end, user] of r.typers.values()) {
      clearTimeout(end);
      tell(r, TYPING, user, false);
    }
    r.typers.clear();
  };

  const forget = (r: Shared) => {
    rooms.delete(r.name);
    quiet(r);
  };

  const expel = (r: Shared, error: HoldfastError) => {
    forget(r);
    tell(r, LEFT, error);
    for (const h of r.holders) {
      h.gone = true;
      h.handlers.clear();
      h.reject(error);
    }
  };

  const show = (r: Shared): Promise<void> => {
    r.told = r.shown;
    return core.ask("presence:update", { room: r.name, data: r.shown });
  };

  const presence = (r: Shared, e: PresenceEvent) => {
    if (e.kind === "sync") r.present = e.users;
    else if ("user" in e) {
      const i = r.present.findIndex((p) => p.id === e.user.id);
      const rest = r.present.filter((_, j) => j !== i);
      if (e.kind !== "leave") rest.splice(i < 0 ? rest.length : i, 0, { ...r.present[i], ...e.user });
      r.present = rest;
    }
    tell(r, PRESENCE, e);
  };

  const typing = (r: Shared, user: Present) => {
    const { typers } = r;
    const before = typers.get(user.id);
    if (!before && typers.size > 999) return;
    clearTimeout(before?.[0]);
    const end = () => {
      typers.delete(user.id);
      tell(r, TYPING, user, false);
    };
    typers.set(user.id, [setTimeout(end, 5000), user]);
    if (!before) tell(r, TYPING, user, true);
  };

  // The newest of each event and key goes out, one of them every 100 ms.
  const flush = (r: Shared) => {
    const [key, payload] = [...r.signals][0] ?? [];
    r.pace = undefined;
    if (key === undefined) return;
    r.signals.delete(key);
    try {
      if (r.member) core.current()?.send(2, ["room:signal", payload]);
    } finally {
      r.pace = setTimeout(() => flush(r), 100);
    }
  };

  const join = (name: string, o: JoinOptions = {}): Room => {
    const r: Shared = rooms.get(name) ?? {
      name,
      holders: [],
      at: o.since,
      tries: 0,
      renewals: 0,
      typed: 0,
      typers: new Map(),
      present: [],
      signals: new Map(),
    };
    rooms.set(name, r);
    const handlers = new Emitter<any>();
    const h = { handlers, gone: false } as Holder;
    const first = new Promise<Position>((resolve, reject) => Object.assign(h, { resolve, reject }));
    first.catch(() => {}); // onLeft tells it too
    r.holders.push(h);
    if ("presence" in o) {
      r.shown = o.presence;
      if (r.member) show(r).catch(() => {});
    }
    if (r.member) h.resolve(r.at!);
    else ask(r);
    const gone = () => local("LEFT", "The room was left", true);
    const on = (key: string) => (fn: (...args: any[]) => void) => handlers.on(key, fn);
    const room: Room = {
      ...core.rest(name),
      name,
      joined: first,
      get position() {
        return r.at;
      },
      get present() {
        return r.present;
      },
      on: (event, fn) => handlers.on(event, fn),
      onAny: on(ANY),
      onReset: on(RESET),
      onLeft: on(LEFT),
      onPresence: on(PRESENCE),
      onTyping: on(TYPING),
      onSignal: (event, fn) => handlers.on(SIGNAL + event, fn),
      signal(event, data, key) {
        if (h.gone || !r.member) return;
        core.deps.source?.touch?.();
        r.signals.set(`${event}\n${key}`, { room: name, event, data, key });
        if (!r.pace) flush(r);
      },
      typing() {
        core.deps.source?.touch?.();
        const now = core.now();
        const l = core.current();
        if (h.gone || !r.member || !l || now - r.typed < 3000) return;
        r.typed = now;
        l.send(2, ["typing", { room: name }]);
      },
      setPresence: async (data) => {
        if (h.gone) throw gone();
        r.shown = data;
        if (r.member) await show(r);
      },
      leave() {
        if (h.gone) return;
        h.gone = true;
        handlers.clear();
        h.reject(gone());
        r.holders = r.holders.filter((x) => x !== h);
        if (r.holders.length) return;
        const tell = r.member || r.asked;
        forget(r);
        if (!tell || !link) return;
        const l = link;
        leaving.add(name);
        const left = () => {
          if (l !== link) return;
          leaving.delete(name);
          askMore();
        };
        l.ask(["room:leave", { room: name }]).then(left, left);
      },
    };
    return room;
  };

  return {
    join,
    /** Drops all rooms: they were somebody else's. */
    drop() {
      for (const r of [...rooms.values()]) expel(r, local("SIGNED_OUT", "Another user signed in", true));
    },
    up(l: Link) {
      link = l;
      for (const r of rooms.values()) {
        r.tries = r.renewals = r.typed = 0;
        r.told = undefined;
      }
      askMore();
    },
    down() {
      link = undefined;
      leaving.clear();
      for (const r of rooms.values()) quiet(r);
    },
    /** It won't connect again by itself: nobody waits for a join any more. */
    stopped(error: HoldfastError) {
      for (const r of rooms.values()) for (const h of r.holders) h.reject(error);
    },
    /**
     * Looks at an event: undefined, it was seen before; else what its rooms'
     * holders are to hear, once the interceptor has let it pass.
     */
    take(l: Link, name: string, args: any[]): ((data: unknown) => void) | undefined {
      const [data, meta] = args;
      const beside = /^(presence:|user_typing$|room:left$)/.test(name);
      const roomName = beside ? data?.room : args.length === 2 && meta?.room;
      const r = typeof roomName === "string" && link === l && rooms.get(roomName);
      const nothing = () => {};
      if (!r || !(r.member || r.asked)) return nothing;
      if (!beside && meta.epoch && Number.isInteger(meta.offset)) {
        const { epoch, offset } = meta as Position;
        if (r.at?.epoch === epoch && offset <= r.at.offset) return;
        r.at = { epoch, offset };
        return (d) => {
          tell(r, ANY, name, d, meta);
          tell(r, name, d, meta);
        };
      }
      if (!l.session) return nothing; // a plain server's own event
      if (!beside) return (d) => tell(r, SIGNAL + name, d, meta as EventMeta);
      if (name === "room:left") return () => r.member && expel(r, refusalOf(data));
      if (name === "user_typing") return () => data.user?.id && typing(r, data.user);
      const kind = name.slice(9);
      const e = (/ed$/.test(kind) ? { kind } : { kind, user: data.user }) as PresenceEvent;
      return () => (!("user" in e) || e.user?.id) && presence(r, e);
    },
  };
}
