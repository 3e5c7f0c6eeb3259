import type { BoardState, Card, Change } from "../types.js";
import { applied, baseOf, type Base } from "./base.js";
import { isWrite, perform, subject, type Draft, type Seen, type Write } from "./writes.js";

/** A write of this user that the server's state, as it is known here, does not show yet. */
export type Op = Write & {
  /** Told apart by it here: it goes along in the payload, as the queue gives ids of its own. */
  mark: string;
  /** Its id in the queue, and of its event; absent until it is kept there. */
  id?: string;
  /** The revision that has it, once that is known. */
  rev?: number;
  /** When it had left the queue before its event came. */
  gone?: number;
  at: number;
};

/** An item of the queue, as far as it matters here. */
export interface Queued {
  id: string;
  event: string;
  data: any;
  at: number;
}

/** An edit that the server refused because somebody else's came first. */
export interface Conflict {
  /** Ids of the refused writes. */
  ids: string[];
  card: string;
  mine: Seen;
}

/** Something to be told once. */
export interface Notice {
  id: string;
  text: string;
  /** What the user has written, which is nowhere else any more. */
  lost?: string;
}

export interface Refusal {
  code: string;
  message: string;
}

const early = 2000; // events that may wait for a state
const recent = 500; // own writes whose end is remembered; more than a queue holds

/**
 * What is known of a board: the server's state with its events in order, and
 * this user's own writes that are not in it yet. Does nothing by itself: it is
 * told what happens, in whatever order that comes.
 */
export class Model {
  base: Base | undefined;
  ops: Op[] = [];
  conflicts: Conflict[] = [];
  notices: Notice[] = [];
  /** The state has to be fetched: there is none, or events were lost. */
  stale = true;
  /** By card: the revision in which somebody else changed it last. */
  readonly touched = new Map<string, number>();
  readonly #me: string;
  #early: [event: string, change: Change][] = [];
  #clock = 0;
  #resetAt = Infinity;
  #ended = new Map<string, number>(); // own writes that may still be in the queue: the revision that has them; 0: none ever will
  #lost = new Set<string>(); // ids of cards and lists that were never made

  constructor(me: string) {
    this.#me = me;
  }

  /** This user has written something. */
  add(write: Write, mark: string, at: number): void {
    this.ops = [...this.ops, { ...write, mark, at } as Op];
  }

  /** What waits in the queue for this board, oldest first. */
  queue(items: readonly Queued[]): void {
    const known = new Map(this.ops.map((op) => [op.mark, op]));
    const there = new Set(items.map(({ id }) => id));
    const waiting: Op[] = [];
    for (const { id, event, data: { mark = id, board: _, ...data }, at } of items) {
      const rev = this.#ended.get(id);
      if (!isWrite(event) || (rev !== undefined && rev <= (this.base?.board.rev ?? 0))) continue;
      const { gone: __, ...op } = known.get(mark) ?? ({ event, data, mark, at } as Op);
      waiting.push({ ...op, id, ...(rev && { rev }) } as Op);
      known.delete(mark);
    }
    // What has left the queue was before all that is in it, and what is not there yet comes behind.
    const rest = [...known.values()];
    const left = rest.filter(({ id }) => id && !there.has(id)).map((op) => ({ gone: this.#clock, ...op }));
    this.ops = [...left, ...waiting, ...rest.filter(({ id }) => !id)];
    this.#settle();
  }

  /** An event of the board's room. */
  event(event: string, change: Change, id?: string): void {
    if (id && change.by.id === this.#me) {
      this.#end(id, change.rev);
      this.ops = this.ops.map((op) => (op.id === id ? { ...op, rev: change.rev } : op));
    }
    const rev = this.base?.board.rev ?? 0;
    if (this.stale || change.rev > rev + 1) {
      this.stale = true;
      this.#early = [...this.#early, [event, change] as [string, Change]].slice(-early);
    } else if (change.rev > rev) this.#apply(event, change);
    this.#settle();
  }

  /** Events were lost. */
  reset(): void {
    this.stale = true;
    this.#early = [];
    this.#resetAt = this.#clock;
  }

  /** A fetch of the state begins. */
  fetching(): number {
    return ++this.#clock;
  }

  /** The state that a fetch has brought. */
  fetched(state: BoardState, since: number): void {
    // An old answer changes nothing; one that began after a reset counts, even where the server's data are older now.
    if (this.base && state.board.rev < this.base.board.rev && since <= this.#resetAt) return;
    this.base = baseOf(state);
    this.#resetAt = Infinity;
    this.stale = false;
    const waiting = this.#early.sort(([, a], [, b]) => a.rev - b.rev);
    this.#early = [];
    for (const [event, change] of waiting) this.event(event, change);
    // Whatever ended before the fetch began is in what it brought.
    this.ops = this.ops.filter(({ gone }) => gone === undefined || gone >= since);
    this.#settle();
  }

  /** A write was refused for good; `which` is its mark or its id. A second time nothing happens. */
  refused(which: string, error: Refusal): void {
    const op = this.ops.find(({ mark, id }) => mark === which || id === which);
    if (!op) return;
    this.ops = this.ops.filter((other) => other !== op);
    if (op.id) this.#end(op.id, 0);
    this.dead(op, op.id ?? op.mark, error);
  }

  /** What a refused write leaves behind: a conflict, or a notice. */
  dead(write: Write, id: string, { code, message }: Refusal): void {
    if (this.#lost.has(subject(write)) || (write.event === "card:create" && this.#lost.has(write.data.list))) return;
    if (write.event === "card:create" || write.event === "list:create") this.#lost.add(subject(write));
    if (write.event === "card:update" && code === "CONFLICT") {
      const { title, text } = write.data;
      const mine = { ...(title !== undefined && { title }), ...(text !== undefined && { text }) };
      const before = this.conflicts.find(({ card }) => card === write.data.card);
      const merged = { card: write.data.card, ids: [...(before?.ids ?? []), id], mine: { ...before?.mine, ...mine } };
      this.conflicts = [...this.conflicts.filter((other) => other !== before), merged];
    } else {
      const lost = lostText(write);
      this.notices = [...this.notices, { id, text: this.#words(write, code, message), ...(lost && { lost }) }];
    }
  }

  /** A conflict is settled by the user, who has chosen. */
  resolve(card: string): Conflict | undefined {
    const conflict = this.conflicts.find((other) => other.card === card);
    this.conflicts = this.conflicts.filter((other) => other !== conflict);
    return conflict;
  }

  /** Notices are told once. */
  told(id: string): void {
    this.notices = this.notices.filter((notice) => notice.id !== id);
  }

  /** The server's state with this user's own writes laid over it, in order. */
  draft(): Draft {
    const draft: Draft = { lists: new Map(this.base?.lists), cards: new Map(this.base?.cards) };
    for (const op of this.ops) perform(draft, op, this.#me, op.at);
    return draft;
  }

  /** Ids of the cards and lists whose writes wait for the network. */
  pending(): Set<string> {
    return new Set(this.ops.filter(({ rev, gone }) => rev === undefined && gone === undefined).map(subject));
  }

  /** Whether a refused write is shown as a conflict or notice, or needs no showing. */
  knows(id: string): boolean {
    return this.#ended.has(id) || this.conflicts.some(({ ids }) => ids.includes(id)) || this.notices.some((notice) => notice.id === id);
  }

  /** The name of whoever has made what is on a card now; undefined: not known any more. */
  editor(card: string): string | undefined {
    const by = this.base?.cards.get(card)?.editor;
    return this.base?.members.find(({ id }) => id === by)?.name;
  }

  /** Some write's end is unknown: only a fetch will tell. */
  get unsure(): boolean {
    return this.ops.some(({ gone, rev }) => gone !== undefined && rev === undefined);
  }

  #apply(event: string, change: Change): void {
    if (change.card && change.by.id !== this.#me) this.touched.set(change.card.id, change.rev);
    this.base = applied(this.base!, event, change, this.#me);
  }

  #end(id: string, rev: number): void {
    this.#ended.set(id, rev);
    if (this.#ended.size > recent) this.#ended.delete(this.#ended.keys().next().value!);
  }

  // Drops the writes that the state shows, and conflicts that are none any more.
  #settle(): void {
    const { base } = this;
    if (!base || this.stale) return;
    const now = base.board.rev;
    const over = this.ops.filter(({ rev }) => rev !== undefined && rev <= now);
    for (const { id, rev } of over) if (id) this.#end(id, rev!);
    if (over.length) this.ops = this.ops.filter((op) => !over.includes(op));
    const open = this.conflicts.filter(({ ids, card, mine }) => {
      const theirs = base.cards.get(card);
      if (!theirs) this.notices = [...this.notices, { id: ids[0]!, text: "What you wrote was not kept: its card was deleted.", lost: written(mine) }];
      return theirs && ((mine.title ?? theirs.title) !== theirs.title || (mine.text ?? theirs.text) !== theirs.text);
    });
    if (open.length < this.conflicts.length) this.conflicts = open;
  }

  #words(write: Write, code: string, message: string): string {
    const { cards, lists } = this.base ?? { cards: new Map<string, Card>(), lists: new Map() };
    const name = (cards.get(subject(write)) ?? lists.get(subject(write)) ?? (write.data as { title?: string })).title;
    const what = name ? `“${name}”` : write.event.startsWith("card:") ? "a card" : "a list";
    if (code === "CONFLICT" && write.event === "card:delete") return `${what} was changed meanwhile, so it is still here.`;
    if (code === "NOT_FOUND") return `Your change to ${what} came too late: it was deleted.`;
    if (code === "FORBIDDEN") return `Your change to ${what} was not kept: you may only look at this board now.`;
    return `Your change to ${what} was not kept. ${message}.`;
  }
}

const written = ({ title, text }: Seen): string => [title, text].filter(Boolean).join("\n");

// Of an edit, or of a card that was never made.
const lostText = (write: Write): string => (write.event === "card:update" || write.event === "card:create" ? written(write.data) : "");
