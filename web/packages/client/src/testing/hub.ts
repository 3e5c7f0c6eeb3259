import type { Position, User } from "../types.js";
import { Refusal } from "./refusal.js";
import { checkEvent, checkId, checkRoom, type Verb } from "./rights.js";

/** A connection to one namespace, as rooms see it. */
export interface Member {
  connection: string;
  user: User;
  may(room: string, verb: Verb): boolean;
  emit(event: string, ...args: unknown[]): void;
}

/** One who is listed. */
export interface Listed {
  id: string;
  name?: string;
  data?: unknown;
  connections: number;
}

interface Stored {
  event: string;
  data: unknown;
  meta: { room: string; epoch: string; offset: number; id?: string; from?: string };
  at: number; // epoch ms
}

interface Presence {
  user: User;
  data: unknown;
  members: Set<Member>;
  leaving?: ReturnType<typeof setTimeout>;
}

interface Room {
  name: string;
  epoch: string;
  offset: number;
  history: Stored[];
  members: Set<Member>;
  present: Map<string, Presence>;
  /** Positions by publisher and id. */
  ids: Map<string, Position>;
  /** While there are too many to tell of each: what each member knows of the others, as JSON by user. */
  paused?: Map<Member, Map<string, string>>;
}

const historyCount = 1_000;
const historyAge = 600_000; // ms
const leaveDelay = 5_000; // ms

function checkSize(data: unknown, most: number, what: string): void {
  if ((JSON.stringify(data) ?? "").length > most) throw new Refusal("MESSAGE_TOO_LARGE", `${what} is larger than ${most} bytes`);
}

const named = ({ id, name }: User) => ({ id, ...(name && { name }) });

const shown = ({ user, data }: Presence) => ({ ...named(user), ...(data !== undefined && { data }) });

/** The rooms: their order, history, members and presence (docs/protocol.md §4 and §7). */
export class Hub {
  readonly #now: () => number;
  readonly #limit: number;
  #rooms = new Map<string, Room>();
  #epochs = 0;

  /** `limit` is how many users of a room are told of each other. */
  constructor(now: () => number, limit: number) {
    this.#now = now;
    this.#limit = limit;
  }

  /** Forgets the history of all rooms. */
  wipe(): void {
    this.#rooms.clear();
  }

  /** Forgets who is there, as a restart does. */
  empty(): void {
    for (const room of this.#rooms.values()) {
      for (const p of room.present.values()) clearTimeout(p.leaving);
      room.present.clear();
      room.members.clear();
      delete room.paused;
    }
  }

  #room(name: string): Room {
    let room = this.#rooms.get(name);
    if (!room) {
      const epoch = `epoch${++this.#epochs}`;
      room = { name, epoch, offset: 0, history: [], members: new Set(), present: new Map(), ids: new Map() };
      this.#rooms.set(name, room);
    }
    const oldest = this.#now() - historyAge;
    while (room.history.length > historyCount || (room.history[0]?.at ?? oldest) < oldest) room.history.shift();
    return room;
  }

  position(name: string): Position {
    const { epoch, offset } = this.#room(name);
    return { epoch, offset };
  }

  /** Publishes; `from` is a user's id, or absent for a backend. `publisher` says whose the id is. */
  publish(name: unknown, event: unknown, data: unknown, o: { id?: unknown; from?: string; publisher?: string } = {}): Position {
    checkRoom(name);
    checkEvent(event);
    const room = this.#room(name);
    let key: string | undefined;
    if (o.id !== undefined) {
      checkId(o.id);
      key = `${o.publisher ?? o.from ?? ""}\n${o.id}`;
      const before = room.ids.get(key);
      if (before) return before;
    }
    checkSize(data, 65_536, "The event's data");
    const position = { epoch: room.epoch, offset: ++room.offset };
    const meta = { room: name, ...position, ...(o.id !== undefined && { id: o.id as string }), ...(o.from && { from: o.from }) };
    const stored = { event, data: data ?? null, meta, at: this.#now() };
    room.history.push(stored);
    if (key !== undefined) room.ids.set(key, position);
    for (const m of room.members) m.emit(event, stored.data, meta);
    return position;
  }

  /** What came after a position; undefined where history does not go on from there. */
  #since(room: Room, since: Position): Stored[] | undefined {
    const first = room.history[0]?.meta.offset ?? room.offset + 1;
    if (since.epoch !== room.epoch || since.offset > room.offset || since.offset < first - 1) return undefined;
    return room.history.filter((s) => s.meta.offset > since.offset);
  }

  /** What `GET /api/rooms/{room}/history` answers. */
  history(name: string, since: Position | undefined, limit: number): object {
    const room = this.#room(name);
    const found = since ? this.#since(room, since) : room.history.slice(-limit);
    const events = (found ?? []).slice(0, limit);
    const offset = events.length === limit ? events.at(-1)!.meta.offset : room.offset;
    return {
      events: events.map(({ event, data, meta }) => ({ type: "event", event, data, ...meta })),
      epoch: room.epoch, offset, recovered: found !== undefined,
    };
  }

  /** Joins, replays what came after `since`, and returns the ack's data. */
  join(m: Member, name: unknown, since?: Position, presence?: unknown): object {
    checkRoom(name);
    if (!m.may(name, "join")) throw new Refusal("FORBIDDEN", "Not allowed in this room");
    const room = this.#room(name);
    const already = room.members.has(m);
    let recovered: boolean | undefined;
    if (!already) {
      const missed = since && this.#since(room, since);
      if (since) recovered = missed !== undefined;
      for (const s of missed ?? []) m.emit(s.event, s.data, s.meta);
      room.members.add(m);
      if (this.#listed(m, name)) this.#enter(room, m, presence);
    }
    return {
      room: name, epoch: room.epoch, offset: room.offset,
      ...(recovered !== undefined && { recovered }),
      ...(this.#listed(m, name) && (room.paused ? { viewers: room.present.size } : { presence: this.list(name) })),
    };
  }

  #listed(m: Member, room: string): boolean {
    return m.may(room, "presence");
  }

  /** Tells the other users who may know. */
  #tell(room: Room, user: string, event: string, payload: object): void {
    if (room.paused) return;
    for (const m of room.members) {
      if (m.user.id !== user && this.#listed(m, room.name)) m.emit(event, { room: room.name, user: payload });
    }
  }

  #enter(room: Room, m: Member, data: unknown): void {
    const before = room.present.get(m.user.id);
    if (!before) {
      const p: Presence = { user: m.user, data: data ?? undefined, members: new Set([m]) };
      if (room.present.size >= this.#limit) this.#pause(room, m);
      room.present.set(m.user.id, p);
      return this.#tell(room, m.user.id, "presence:join", shown(p));
    }
    clearTimeout(before.leaving);
    before.members.add(m);
    if (data !== undefined && data !== null) this.#update(room, before, data);
  }

  /** There are too many now: members are told so, and what they know is kept for later. */
  #pause(room: Room, newcomer: Member): void {
    if (!room.paused) {
      const known = new Map([...room.present].map(([id, p]) => [id, JSON.stringify(shown(p))]));
      room.paused = new Map();
      for (const m of room.members) {
        if (m === newcomer || !this.#listed(m, room.name)) continue;
        room.paused.set(m, new Map(known));
        m.emit("presence:paused", { room: room.name, viewers: room.present.size + 1 });
      }
    }
    room.paused.set(newcomer, new Map());
  }

  /** There are few enough again: each is told what has changed since. */
  #resume(room: Room): void {
    const enough = this.#limit < 10 ? this.#limit : Math.floor(this.#limit * 0.9);
    if (!room.paused || room.present.size > enough) return;
    for (const [m, known] of room.paused) {
      if (!room.members.has(m)) continue;
      const say = (event: string, user: object) => m.emit(event, { room: room.name, user });
      for (const [id, text] of known) if (!room.present.has(id)) say("presence:leave", named(JSON.parse(text)));
      for (const [id, p] of room.present) {
        const before = known.get(id);
        if (id !== m.user.id && before !== JSON.stringify(shown(p))) say(before ? "presence:update" : "presence:join", shown(p));
      }
      m.emit("presence:resumed", { room: room.name, viewers: room.present.size });
    }
    delete room.paused;
  }

  #update(room: Room, p: Presence, data: unknown): void {
    const next = data ?? undefined;
    if (JSON.stringify(next) === JSON.stringify(p.data)) return;
    p.data = next;
    this.#tell(room, p.user.id, "presence:update", shown(p));
  }

  leave(m: Member, name: string): void {
    const room = this.#room(name);
    if (!room.members.delete(m)) return;
    const p = room.present.get(m.user.id);
    if (room.members.size === 0) {
      for (const other of room.present.values()) clearTimeout(other.leaving);
      room.present.clear();
      delete room.paused;
    } else if (p?.members.delete(m) && p.members.size === 0) {
      p.leaving = setTimeout(() => {
        room.present.delete(p.user.id);
        this.#tell(room, p.user.id, "presence:leave", named(p.user));
        this.#resume(room);
      }, leaveDelay);
    }
  }

  /** The member has gone, or its rights are others now: what it lost is told to it. */
  leaveAll(m: Member, lost?: (room: string) => void): void {
    for (const room of this.#rooms.values()) {
      if (!room.members.has(m) || (lost && m.may(room.name, "join"))) continue;
      this.leave(m, room.name);
      lost?.(room.name);
    }
  }

  /** The first of those who are there, by their ids. */
  list(name: string): Listed[] {
    const all = [...this.#room(name).present.values()].map((p) => ({ ...shown(p), connections: p.members.size }));
    return all.sort((a, b) => (a.id < b.id ? -1 : 1)).slice(0, this.#limit);
  }

  /** How many are there. */
  viewers(name: string): number {
    return this.#room(name).present.size;
  }

  /** The room, for what members alone may do. */
  #ofMember(m: Member, name: unknown, verb?: Verb): Room {
    checkRoom(name);
    const room = this.#room(name);
    if (!room.members.has(m)) throw new Refusal("FORBIDDEN", "Not in this room: join it first");
    if (verb === "presence" && !m.may(name, verb))
      throw new Refusal("FORBIDDEN", "Not allowed to take part in this room's presence");
    if (verb === "publish" && !m.may(name, verb)) throw new Refusal("FORBIDDEN", "Not allowed to publish in this room");
    return room;
  }

  presence(m: Member, name: unknown): Listed[] {
    return this.list(this.#ofMember(m, name, "presence").name);
  }

  setPresence(m: Member, name: unknown, data: unknown): void {
    const room = this.#ofMember(m, name, "presence");
    checkSize(data, 4_096, "Presence data");
    const p = room.present.get(m.user.id);
    if (p) this.#update(room, p, data);
  }

  typing(m: Member, name: unknown): void {
    const room = this.#ofMember(m, name);
    const payload = { room: room.name, user: named(m.user) };
    for (const other of room.members) if (other.user.id !== m.user.id) other.emit("user_typing", payload);
  }

  signal(m: Member, name: unknown, event: unknown, data: unknown, key?: unknown): void {
    const room = this.#ofMember(m, name, "publish");
    checkEvent(event);
    const meta = { room: room.name, from: m.user.id, ...(key !== undefined && key !== "" && { key }) };
    for (const other of room.members) if (other !== m) other.emit(event, data ?? null, meta);
  }
}
