import type { User } from "../types.js";
import type { Engine } from "./engine.js";
import type { Hub, Member } from "./hub.js";
import type { Issued, Issuer } from "./issuer.js";
import { ACK, CONNECT, CONNECT_ERROR, Decoder, DISCONNECT, encode, EVENT, type Frame, type Packet } from "./packets.js";
import { connectMessage, Refusal, toRefusal } from "./refusal.js";
import { checkId, verbs } from "./rights.js";

/** Who sent an event, for its handler. */
export interface EventContext {
  user: User;
  connection: string;
  namespace: string;
  /** The event's id, where it has one. */
  id: string | undefined;
  /** Sends an event to this connection alone. */
  emit(event: string, ...args: unknown[]): void;
}

/** Handles an event: what it returns is acknowledged, what it throws is refused. */
export type EventHandler = (data: any, context: EventContext) => unknown;

/** What connections share. */
export interface World {
  issuer: Issuer;
  hub: Hub;
  now: () => number;
  namespaces: string[];
  handler(event: string): EventHandler | undefined;
  /** Remembered acks, by user and id. */
  acks: Map<string, Remembered>;
  gone(c: Connection): void;
}

/** An event that was, or is being, handled. */
export interface Remembered {
  event: string;
  namespace: string;
  ack: Promise<object>;
}

const connectTime = 10_000; // ms
const leeway = 5_000; // ms
const staleGrace = 30_000; // ms
const features = ["refresh", "id", "since"];
const later = ["RATE_LIMITED", "CONNECTION_LIMIT", "GOING_AWAY", "INTERNAL"];
const longest = 2 ** 31 - 1; // ms of one timer

/** One Socket.IO connection, with its namespaces (docs/protocol.md §4). */
export class Connection {
  readonly id: string;
  identity: Issued | undefined;
  readonly engine: Engine;
  readonly #world: World;
  readonly #handshake: () => string | undefined;
  readonly #decoder = new Decoder();
  readonly #members = new Map<string, Member & { sid: string }>();
  #refused = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `handshake` is the token that came with it, in a header or a cookie. */
  constructor(world: World, engine: Engine, handshake: () => string | undefined) {
    this.#world = world;
    this.engine = engine;
    this.id = engine.sid;
    this.#handshake = handshake;
    engine.owner = { message: (f) => this.#message(f), ended: () => this.#ended() };
    this.#at(world.now() + connectTime, () => {
      if (this.#members.size === 0) this.end(new Refusal("GOING_AWAY", "no CONNECT within 10s"));
    });
  }

  /** The one timer: of the CONNECT, the warning and the end. */
  #at(when: number, run: () => void): void {
    clearTimeout(this.#timer);
    const wait = Math.max(when - this.#world.now(), 0);
    this.#timer = setTimeout(() => (wait > longest ? this.#at(when, run) : run()), Math.min(wait, longest));
  }

  #message(f: Frame): void {
    let packet: Packet | undefined;
    try {
      packet = this.#decoder.frame(f);
    } catch (e) {
      return this.end(toRefusal(e));
    }
    if (packet?.type === CONNECT) this.#connect(packet);
    else if (packet?.type === DISCONNECT) this.#leave(packet.namespace);
    else if (packet?.type === EVENT) this.#event(packet);
    else if (packet?.type === CONNECT_ERROR) this.end(new Refusal("PROTOCOL_ERROR"));
  }

  #send(p: Packet): void {
    this.engine.send(encode(p));
  }

  #connect({ namespace, data }: Packet): void {
    if (this.#members.has(namespace)) return;
    if (namespace !== "/" && !this.#world.namespaces.includes(namespace)) {
      this.#refused = true;
      return this.#send({ type: CONNECT_ERROR, namespace, data: { message: "Invalid namespace" } });
    }
    try {
      const identity = this.#world.issuer.verify(typeof data?.token === "string" ? data.token : this.#handshake());
      if (this.identity && this.identity.user.id !== identity.user.id)
        throw new Refusal("FORBIDDEN", "This connection belongs to another user");
      this.#admit(namespace, identity);
    } catch (e) {
      const refusal = toRefusal(e);
      if (later.includes(refusal.code)) return this.end(refusal);
      this.#refused = true;
      const { code, retryAfter, details } = refusal.payload();
      const more = { code, ...(retryAfter && { retryAfter }), ...(details !== undefined && { details }) };
      this.#send({ type: CONNECT_ERROR, namespace, data: { message: connectMessage(refusal), data: more } });
    }
  }

  #admit(namespace: string, identity: Issued): void {
    const sid = namespace === "/" ? this.id : this.#world.issuer.unique("n_");
    const member = {
      sid, connection: this.id, user: identity.user,
      may: (room: string, verb: "join" | "publish" | "presence") => verbs(this.identity?.rooms ?? [], room).includes(verb),
      emit: (event: string, ...args: unknown[]) => this.#send({ type: EVENT, namespace, data: [event, ...args] }),
    };
    this.#members.set(namespace, member);
    this.#refused = false;
    this.#follow(identity);
    this.#send({ type: CONNECT, namespace, data: { sid } });
    member.emit("auth:session", { user: identity.user, connection: this.id, ...this.#expiry(identity.expiresAt), features });
  }

  #expiry(expiresAt: number): { expiresAt: number; expiresIn: number } {
    return { expiresAt, expiresIn: Math.max(Math.floor((expiresAt - this.#world.now()) / 1000), 0) };
  }

  /** Lives as long as the identity does, and warns ahead of it. */
  #follow(identity: Issued): void {
    this.identity = identity;
    const { issuedAt, expiresAt } = identity;
    const ahead = Math.min(Math.max((expiresAt - issuedAt) / 5, 2_000), 30_000);
    this.#at(expiresAt - ahead, () => {
      this.notify("auth:expiring", { ...this.#expiry(expiresAt), reason: "expiry" });
      this.#at(expiresAt + leeway, () => this.end(new Refusal("TOKEN_EXPIRED")));
    });
  }

  /** The user's permissions have changed: a refresh is due. */
  stale(): void {
    if (!this.identity) return;
    const deadline = this.#world.now() + staleGrace;
    if (deadline < this.identity.expiresAt + leeway) this.#at(deadline, () => this.end(new Refusal("PERMISSION_VERSION_STALE")));
    const end = Math.min(deadline, this.identity.expiresAt + leeway);
    this.notify("auth:expiring", { ...this.#expiry(end), reason: "permissions" });
  }

  /** Tells something in all namespaces. */
  notify(event: string, payload: unknown): void {
    for (const m of this.#members.values()) m.emit(event, payload);
  }

  /** Sends an event in the namespace `/`. */
  send(event: string, args: unknown[]): void {
    this.#members.get("/")?.emit(event, ...args);
  }

  /** Whether it was let in. */
  get admitted(): boolean {
    return this.#members.size > 0;
  }

  /** Ends it as the server does: says why, and closes. */
  end(refusal: Refusal): void {
    this.notify("auth:closing", refusal.payload());
    this.engine.end(refusal.closeCode, refusal.code);
  }

  #leave(namespace: string): void {
    const member = this.#members.get(namespace);
    if (!member) return;
    this.#members.delete(namespace);
    this.#world.hub.leaveAll(member);
  }

  #ended(): void {
    clearTimeout(this.#timer);
    for (const namespace of [...this.#members.keys()]) this.#leave(namespace);
    this.#world.gone(this);
  }

  #event({ namespace, id, data }: Packet): void {
    const member = this.#members.get(namespace);
    const answer = (ack: unknown) => {
      if (id !== undefined && !this.engine.ended) this.#send({ type: ACK, namespace, id, data: [ack] });
    };
    const refuse = (e: unknown) => answer({ ok: false, error: toRefusal(e).payload() });
    if (!member) {
      if (this.#refused) return refuse(new Refusal("UNAUTHENTICATED"));
      return this.end(new Refusal("PROTOCOL_ERROR", "event for a namespace that is not connected"));
    }
    const event = String(data[0]);
    const args: any[] = data.slice(1);
    let eventId: string | undefined;
    try {
      eventId = cutId(args);
    } catch (e) {
      return refuse(e);
    }
    if (own.includes(event)) {
      try {
        const result = this.#own(member, event, args[0], eventId);
        answer({ ok: true, data: result ?? null });
      } catch (e) {
        if (event === "room:join" && id === undefined) {
          const { message, code } = toRefusal(e).payload();
          member.emit("room:error", { room: args[0]?.room, code, message });
        }
        refuse(e);
      }
      return;
    }
    const handler = this.#world.handler(event);
    if (!handler) return refuse(new Refusal("NOT_FOUND", "there is no handler for this event"));
    const context = { user: member.user, connection: this.id, namespace, id: eventId, emit: member.emit };
    const handle = () => acknowledge(() => handler(args[0] ?? null, context));
    void (eventId === undefined ? handle() : this.#once(event, namespace, eventId, handle)).then(answer);
  }

  /** Handles what has an id once, and answers its repeats as it did the first. */
  #once(event: string, namespace: string, id: string, handle: () => Promise<Ack>): Promise<object> {
    const key = `${this.identity!.user.id}\n${id}`;
    const before = this.#world.acks.get(key);
    if (before) {
      if (before.event === event && before.namespace === namespace) return before.ack;
      const other = new Refusal("CONFLICT", "This id was used for another event");
      return Promise.resolve({ ok: false, error: other.payload() });
    }
    const ack = handle().then(({ again, ...rest }) => {
      if (again) this.#world.acks.delete(key);
      return rest;
    });
    this.#world.acks.set(key, { event, namespace, ack });
    return ack;
  }

  /** Holdfast's own events. */
  #own(member: Member, event: string, payload: any, eventId: string | undefined): unknown {
    if (!payload || typeof payload !== "object" || Array.isArray(payload))
      throw new Refusal("INVALID_ARGUMENT", `${event} needs an object as its payload`);
    const { hub } = this.#world;
    const { room, since, presence, data, key, id = eventId } = payload;
    switch (event) {
      case "room:join":
        return hub.join(member, room, since ?? undefined, presence);
      case "room:leave":
        return hub.leave(member, String(room));
      case "room:publish":
        if (typeof room === "string" && !member.may(room, "publish"))
          throw new Refusal("FORBIDDEN", "Not allowed to publish in this room");
        return hub.publish(room, payload.event, data, { id, from: member.user.id });
      case "room:signal":
        return hub.signal(member, room, payload.event, data, key);
      case "presence:update":
        return hub.setPresence(member, room, data);
      case "presence:get":
        return hub.presence(member, room);
      case "typing":
        return hub.typing(member, room);
      default:
        return this.#refresh(payload.token);
    }
  }

  /** Swaps the identity in place. A bad token leaves everything as it was. */
  #refresh(token: unknown): object {
    if (typeof token !== "string" || token === "") throw new Refusal("INVALID_ARGUMENT", "auth:refresh needs a token");
    const identity = this.#world.issuer.verify(token);
    if (identity.user.id !== this.identity!.user.id) throw new Refusal("FORBIDDEN", "The token belongs to another user");
    this.#follow(identity);
    const { message, code } = new Refusal("FORBIDDEN", "Not allowed in this room").payload();
    for (const m of this.#members.values()) {
      m.user = identity.user;
      this.#world.hub.leaveAll(m, (room) => m.emit("room:left", { room, code, message }));
    }
    return this.#expiry(identity.expiresAt);
  }
}

const own = [
  "room:join", "room:leave", "room:publish", "room:signal", "presence:update", "presence:get", "typing", "auth:refresh",
];

/** The id that an event has in its last argument, which it loses. */
function cutId(args: any[]): string | undefined {
  const last = args.at(-1);
  if (!last || typeof last !== "object" || !("$hf" in last)) return undefined;
  const hf = last.$hf;
  if (Object.keys(last).length !== 1 || !hf || Object.keys(hf).join() !== "id")
    throw new Refusal("INVALID_ARGUMENT", 'a last argument with the key "$hf" must be exactly {"$hf":{"id":"…"}}');
  checkId(hf.id);
  args.pop();
  return hf.id;
}

interface Ack {
  ok: boolean;
  data?: unknown;
  error?: object;
  /** A repeat is to be handled again. */
  again?: boolean;
}

async function acknowledge(handle: () => unknown): Promise<Ack> {
  try {
    return { ok: true, data: (await handle()) ?? null };
  } catch (e) {
    const refusal = toRefusal(e);
    return { ok: false, error: refusal.payload(), ...(!refusal.final && { again: true }) };
  }
}
