import { HoldfastError, type Room, type Unsubscribe } from "@holdfast/client";
import type { Client } from "../client.js";
import type { BoardEvents, BoardState, Card, Change, List } from "../types.js";
import { stateOf } from "./base.js";
import { newId } from "./ids.js";
import { Model, type Notice, type Queued } from "./model.js";
import * as told from "./told.js";
import { show, type Shown } from "./view.js";
import type { Spot, Thing } from "./spots.js";
import { isWrite, type Place, type Write, type Writes } from "./writes.js";

/** Why a board is not there any more: the code, and whose doing it was where that is known. */
export interface Gone {
  code: string;
  by?: string | undefined;
  /** It was there before. */
  seen: boolean;
}

/** What a page shows of a board. A new object at each change. */
export interface Snapshot {
  readonly shown?: Shown | undefined;
  /** It can't be fetched at the moment. */
  readonly error?: HoldfastError | undefined;
  readonly gone?: Gone | undefined;
  readonly notices: readonly Notice[];
}

const refetch = 2000; // ms until a write whose end is unknown, or a fetch that failed, is looked after

/** Keeps one board up to date while somebody looks at it, and takes its writes. */
export class BoardSync {
  readonly board: string;
  readonly #client: Client;
  readonly #me: string;
  readonly #watchers = new Set<() => void>();
  #model: Model;
  #snapshot: Snapshot = { notices: [] };
  #room: Room<BoardEvents> | undefined;
  #off: Unsubscribe[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #busy: "once" | "again" | undefined; // a fetch runs, and another one has to follow
  #error: HoldfastError | undefined;
  #gone: Gone | undefined;
  #culprit: string | undefined;

  /** `me` is the user's id. */
  constructor(client: Client, board: string, me: string) {
    this.#client = client;
    this.board = board;
    this.#me = me;
    this.#model = new Model(me);
  }

  /** Follows the board while anybody watches. */
  watch = (changed: () => void): Unsubscribe => {
    this.#watchers.add(changed);
    if (!this.#room) this.#open();
    return () => {
      this.#watchers.delete(changed);
      // Who comes back at once, as in StrictMode, finds it as it was.
      queueMicrotask(() => this.#watchers.size || this.#close());
    };
  };

  get = (): Snapshot => this.#snapshot;

  /** As the server has it, for those who need all of it. */
  state = (): BoardState | undefined => this.#model.base && stateOf(this.#model.base);

  /** Shows others that this user writes. */
  typing = (): void => this.#room?.typing();

  /** Begins anew, after an error or an end. */
  retry = (): void => {
    this.#close();
    this.#model = new Model(this.#me);
    this.#gone = this.#error = undefined;
    this.#open();
    this.#tell();
  };

  /** Writes: it is shown at once, and waits in the queue until the server has it. */
  write<K extends keyof Writes>(event: K, data: Writes[K]): void {
    const mark = newId();
    this.#model.add({ event, data } as Write, mark, Date.now());
    this.#tell();
    // Nobody waits for an ack, which would be taken back when the page locks and closes the connection. What becomes of
    // it the room's events tell, or the queue: it keeps it over all of that until it is done, or refused for good.
    this.#client.socket.emit(event, { board: this.board, mark, ...data }).catch((error: HoldfastError) => {
      this.#model.refused(mark, error);
      this.#tell();
    });
  }

  /** A card as it is shown. */
  card(id: string): Card | undefined {
    return this.#snapshot.shown?.columns.flatMap(({ cards }) => cards).find((card) => card.id === id);
  }

  /** The cards of a list, in their order. */
  cards(list: string): readonly Card[] {
    return this.#snapshot.shown?.columns.find((column) => column.list.id === list)?.cards ?? [];
  }

  /** The lists, in their order. */
  lists(): List[] {
    return this.#snapshot.shown?.columns.map(({ list }) => list) ?? [];
  }

  /** Puts a card or a list somewhere else. */
  move({ kind, id }: Thing, { list, before, after }: Spot): void {
    if (kind === "list") this.write("list:move", { list: id, before, after });
    else this.write("card:move", { card: id, ...(list && { list }), before, after });
  }

  /** Deletes a card, unless somebody changes it meanwhile. What it returns makes it anew, in its place. */
  remove(card: Card): () => void {
    const undo = this.#remake(card);
    this.write("card:delete", { card: card.id, was: { title: card.title, text: card.text } });
    return undo;
  }

  /** Deletes a list with its cards; what it returns makes all of it anew. */
  removeList(list: List): () => void {
    const cards = this.cards(list.id);
    const lists = this.lists();
    const at = lists.findIndex(({ id }) => id === list.id);
    const [before, after] = [lists[at + 1]?.id, lists[at - 1]?.id];
    this.write("list:delete", { list: list.id });
    return () => {
      this.write("list:create", { list: list.id, title: list.title, before, after });
      for (const card of cards) this.#make(card, {});
    };
  }

  /** Settles a conflict: with the user's own version, over the one that is there now, or with that one. */
  resolve(card: string, keep: "mine" | "theirs"): void {
    const conflict = this.#model.resolve(card);
    for (const id of conflict?.ids ?? []) told.add(id);
    const theirs = this.#model.base?.cards.get(card);
    if (keep === "mine" && conflict && theirs)
      this.write("card:update", { card, was: { title: theirs.title, text: theirs.text }, ...conflict.mine });
    else this.#tell();
  }

  /** A card as the server has it, without what waits here. */
  theirs = (card: string): Card | undefined => this.#model.base?.cards.get(card);

  /** Who has made what is on a card now, if that is known. */
  editor = (card: string): string | undefined => this.#model.editor(card);

  dismiss = (id: string): void => {
    told.add(id);
    this.#model.told(id);
    this.#tell();
  };

  #remake(card: Card): () => void {
    const row = this.cards(card.list);
    const at = row.findIndex(({ id }) => id === card.id);
    const place = { before: row[at + 1]?.id, after: row[at - 1]?.id };
    return () => this.#make(card, place);
  }

  #make({ id, list, title, text, color, done }: Card, place: Place): void {
    this.write("card:create", { card: id, list, title, text, color, ...place });
    if (done) this.write("card:update", { card: id, done });
  }

  #open(): void {
    const { socket } = this.#client;
    const room = (this.#room = socket.join<BoardEvents>(`board-${this.board}`));
    const current = <A extends unknown[]>(fn: (...args: A) => void) => (...args: A) => void (this.#room === room && fn(...args));
    room.onAny(current((event, data, meta) => this.#event(event, data, meta.id)));
    room.onReset(current(() => (this.#model.reset(), this.#fetch())));
    room.onLeft(current((error) => this.#left(error)));
    room.joined.then(current(() => (this.#model.reset(), this.#fetch())), () => {});
    this.#off = [
      socket.subscribeQueue(() => this.#queue()),
      socket.subscribe(() => socket.state.connected && this.#error && this.#fetch()),
    ];
    this.#queue();
    // Without a connection the board can be looked at, all the same.
    if (!socket.state.connected) this.#fetch();
  }

  #close(): void {
    this.#room?.leave();
    this.#room = undefined;
    for (const off of this.#off.splice(0)) off();
    clearTimeout(this.#timer);
  }

  #event(event: string, change: Change, id?: string): void {
    if (typeof change?.rev !== "number") return; // somebody's own event, and no write to the board
    if (event === "board_deleted" || (event === "member_removed" && change.member?.id === this.#me)) this.#culprit = change.by.name;
    this.#model.event(event, change, id);
    if (this.#model.stale) this.#fetch();
    this.#tell();
  }

  #left(error: HoldfastError): void {
    if (error.code === "SIGNED_OUT" || error.code === "LEFT" || error.code === "CLOSED") return;
    this.#gone = { code: error.code, by: this.#culprit, seen: !!this.#model.base };
    this.#tell();
  }

  #queue(): void {
    const { socket } = this.#client;
    const mine = ({ user, args }: { user: string; args: unknown[] }) =>
      user === this.#me && (args[0] as { board?: string } | undefined)?.board === this.board;
    for (const { item, error } of socket.dead) {
      if (!mine(item) || !isWrite(item.event) || told.has(item.id)) continue;
      const known = this.#model.ops.some((op) => op.id === item.id || op.mark === (item.args[0] as any).mark);
      if (known) this.#model.refused((item.args[0] as any).mark, error);
      else if (!this.#model.knows(item.id)) this.#model.dead({ event: item.event, data: item.args[0] } as Write, item.id, error);
    }
    this.#model.queue(socket.queued.filter(mine).map((item): Queued => ({
      id: item.id, event: item.event, data: item.args[0], at: item.createdAt,
    })));
    this.#tell();
  }

  #fetch(): void {
    if (this.#busy) {
      this.#busy = "again"; // that one may have begun too early
      return;
    }
    const [model, since] = [this.#model, this.#model.fetching()];
    this.#busy = "once";
    clearTimeout(this.#timer);
    this.#client.http.get<BoardState>(`/api/boards/${encodeURIComponent(this.board)}`).then(
      (state) => {
        this.#error = undefined;
        model.fetched(state, since);
      },
      (error: HoldfastError) => {
        if (error.code === "NOT_FOUND") this.#gone ??= { code: error.code, seen: !!model.base };
        else this.#error = error;
      },
    ).then(() => {
      const again = this.#busy === "again";
      this.#busy = undefined;
      if (!this.#room) return;
      if (again) {
        this.#model.stale = true;
        this.#fetch();
      }
      this.#tell();
    });
  }

  // Looks whether something is to be fetched, and shows what there is.
  #tell(): void {
    const model = this.#model;
    clearTimeout(this.#timer);
    if (this.#room && !this.#gone && !this.#busy && (model.unsure || model.stale)) {
      this.#timer = setTimeout(() => this.#fetch(), refetch);
    }
    this.#snapshot = {
      shown: show(model, this.#snapshot.shown), error: model.base ? undefined : this.#error, gone: this.#gone, notices: model.notices,
    };
    for (const changed of [...this.#watchers]) changed();
  }
}
