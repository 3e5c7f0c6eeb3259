// A board's server and a browser's queue in memory, which a test drives step by
// step: whatever can come in another order than expected does.
import { applied, baseOf, stateOf, type Base } from "../src/board/base.js";
import { Model, type Queued } from "../src/board/model.js";
import { place } from "../src/board/order.js";
import { perform, type Write } from "../src/board/writes.js";
import type { BoardState, Card, Change, List } from "../src/types.js";

export const me = { id: "me", name: "Me" };
export const ada = { id: "ada", name: "Ada" };

export const list = (id: string, key: string): List => ({ id, title: id, key, version: 1 });

export const card = (id: string, list: string, key: string, more: Partial<Card> = {}): Card => ({
  id, list, title: id, text: "", color: "", done: false, key, version: 1, author: "ada", editor: "ada", created: 0, updated: 0, ...more,
});

export const empty = (): BoardState => ({
  board: { id: "b", title: "Board", role: "editor", rev: 1, room: "board-b", created: 0 },
  lists: [list("L1", "G"), list("L2", "V")],
  cards: [card("C1", "L1", "G"), card("C2", "L1", "V"), card("C3", "L2", "V")],
  members: [{ ...me, role: "editor" }, { ...ada, role: "owner" }],
});

export class Refused extends Error {
  readonly code: string;

  constructor(code: string) {
    super(code);
    this.code = code;
  }
}

const events = {
  "card:create": "task_created", "card:update": "task_updated", "card:move": "task_moved", "card:delete": "task_deleted",
  "list:create": "list_created", "list:update": "list_updated", "list:move": "list_moved", "list:delete": "list_deleted",
} as const;

/** As the server of examples/taskboard: writes in order, each once by its id. */
export class FakeServer {
  base: Base = baseOf(empty());
  readonly log: { event: string; change: Change; id?: string }[] = [];
  /** The state after each revision. */
  readonly states = new Map<number, BoardState>([[1, empty()]]);
  readonly #answers = new Map<string, Change | Refused>();
  /** Of each write's id how often it had an effect. */
  readonly effects = new Map<string, number>();

  write(by: typeof me, write: Write, id?: string): Change {
    const before = id && this.#answers.get(id);
    if (before instanceof Refused) throw before;
    if (before) return before;
    try {
      const change = this.#do(by, write, id);
      if (id) {
        this.#answers.set(id, change);
        this.effects.set(id, (this.effects.get(id) ?? 0) + 1);
      }
      return change;
    } catch (error) {
      if (id) this.#answers.set(id, error as Refused);
      throw error;
    }
  }

  #do(by: typeof me, write: Write, id: string | undefined): Change {
    const draft = { lists: new Map(this.base.lists), cards: new Map(this.base.cards) };
    const of = write.data as { card?: string; list?: string; was?: Partial<Card> };
    const creates = write.event === "card:create" || write.event === "list:create";
    const isCard = write.event.startsWith("card:");
    const target = isCard ? draft.cards.get(of.card!) : draft.lists.get(of.list!);
    if (creates && target) throw new Refused("CONFLICT");
    if (!creates && !target) throw new Refused("NOT_FOUND");
    if (isCard && of.list && !draft.lists.has(of.list)) throw new Refused("NOT_FOUND");
    for (const [key, value] of Object.entries(of.was ?? {}))
      if ((target as unknown as Record<string, unknown>)[key] !== value) throw new Refused("CONFLICT");
    perform(draft, write, by.id, 0);
    const now = isCard ? draft.cards.get(of.card!) : draft.lists.get(of.list!);
    const edits = write.event.endsWith(":update") || creates;
    const item = now ? { ...now, ...(edits && { version: now.version + 1, editor: by.id }) } : target!;
    const change: Change = { rev: this.base.board.rev + 1, by, ...(isCard ? { card: item as Card } : { list: item as List }) };
    // Now and then a row is numbered anew.
    if (write.event === "card:move" && change.rev % 7 === 0) change.keys = this.#renumber(draft.cards, (item as Card).list);
    if (change.keys) change.card = { ...change.card!, key: change.keys[item.id]! };
    const event = events[write.event];
    this.base = applied(this.base, event, change, me.id);
    this.states.set(change.rev, stateOf(this.base));
    this.log.push({ event, change, ...(id && { id }) });
    return change;
  }

  #renumber(cards: Map<string, Card>, list: string): Record<string, string> {
    const keys: Record<string, string> = {};
    let last = "";
    for (const { id } of [...cards.values()].filter((c) => c.list === list).sort((a, b) => (a.key < b.key ? -1 : 1))) {
      last = keys[id] = place(last ? [{ id: "-", key: last }] : [], id);
    }
    return keys;
  }
}

/** A tab with its connection, and the queue that it shares with others. */
export class Tab {
  model = new Model(me.id);
  online = false;
  joined = false;
  /** Of the server's log: what this tab has heard. */
  heard = 0;
  unkept: (Write & { mark: string })[] = [];
  queue: Queued[] = [];
  acks: (() => void)[] = [];
  fetches: { since: number; state?: BoardState }[] = [];
  /** Ids of the writes that this page has shown. */
  known = new Set<string>();
  readonly server: FakeServer;
  #ids = 0;

  constructor(server: FakeServer) {
    this.server = server;
  }

  write(write: Write): void {
    const mark = `m${++this.#ids}`;
    this.model.add(write, mark, 0);
    this.unkept.push({ ...write, mark });
  }

  /** The queue has written one down. */
  keep(): void {
    const write = this.unkept.shift();
    if (!write) return;
    const { mark, event, data } = write;
    this.known.add(`q${mark}`);
    this.queue.push({ id: `q${mark}`, event, data: { board: "b", mark, ...data }, at: 0 });
    this.model.queue(this.queue);
  }

  /** The first of the queue goes out. Its ack is on its way, and so is its event. */
  send(): void {
    const item = this.queue[0];
    if (!this.online || !item || this.acks.length) return;
    const { mark, board: _, ...data } = item.data;
    let end = () => {};
    try {
      this.server.write(me, { event: item.event, data } as Write, item.id);
    } catch (error) {
      end = () => this.model.refused(mark, error as Refused);
    }
    this.acks.push(() => {
      end();
      this.queue = this.queue.filter(({ id }) => id !== item.id);
      this.model.queue(this.queue);
    });
  }

  ack(): void {
    if (this.online) this.acks.shift()?.();
  }

  hear(): void {
    const next = this.joined && this.server.log[this.heard];
    if (!next) return;
    this.heard++;
    this.model.event(next.event, structuredClone(next.change), next.id);
    if (this.model.stale) this.fetch();
  }

  cut(): void {
    this.online = this.joined = false;
    this.acks = [];
  }

  /** The room is joined anew: from where it was, or without what was missed. */
  join(recovered: boolean): void {
    this.online = true;
    if (this.joined) return;
    this.joined = true;
    if (recovered && this.model.base) return;
    this.heard = this.server.log.length;
    this.model.reset();
    this.fetch();
  }

  fetch(): void {
    this.fetches.push({ since: this.model.fetching() });
  }

  /** The server answers the oldest fetch that it has not answered. */
  answer(): void {
    const open = this.fetches.find(({ state }) => !state);
    if (open) open.state = stateOf(this.server.base);
  }

  /** The answer comes; as in the page, one that began before a reset is followed by another. */
  fetched(): void {
    if (!this.fetches[0]?.state) return;
    const { since, state } = this.fetches.shift()!;
    this.model.fetched(structuredClone(state!), since);
    if (this.fetches.length) this.model.stale = true;
  }

  /** The page is loaded anew: what is in the queue is left. */
  reload(): void {
    this.model = new Model(me.id);
    this.unkept = [];
    this.fetches = [];
    this.cut();
    this.known = new Set(this.queue.map(({ id }) => id));
    this.model.queue(this.queue);
  }

  /** Writes that the server has done and the state here does not show: they must not flicker meanwhile. */
  ahead(): string[] {
    const rev = this.model.base?.board.rev ?? 0;
    return this.server.log.flatMap(({ id, change }) => (id && this.known.has(id) && change.rev > rev ? [id] : []));
  }

  /** All is quiet, in the end. */
  settle(): void {
    this.join(true);
    for (let i = 0; i < 10_000; i++) {
      if (this.unkept.length) this.keep();
      else if (this.acks.length) this.ack();
      else if (this.queue.length) this.send();
      else if (this.joined && this.heard < this.server.log.length) this.hear();
      else if (this.fetches.length) this.answer(), this.fetched();
      else if (this.model.stale || this.model.unsure) this.fetch();
      else return;
    }
    throw new Error("it does not come to rest");
  }
}
