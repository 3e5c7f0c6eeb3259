import type { Card, Color, List } from "../types.js";
import { place } from "./order.js";

/** What is wanted of a place: before one neighbour or, where that is gone, after another; without any at the end. */
export interface Place {
  before?: string | undefined;
  after?: string | undefined;
}

/** What of a card its writer has seen: where it is something else by then, the write is a conflict. */
export interface Seen {
  title?: string;
  text?: string;
}

/** The writes to a board, as they are emitted, without the board's id. */
export interface Writes {
  "card:create": Place & { card: string; list: string; title: string; text?: string; color?: Color };
  "card:update": { card: string; was?: Seen; title?: string; text?: string; color?: Color; done?: boolean };
  "card:move": Place & { card: string; list?: string };
  "card:delete": { card: string; was?: Seen };
  "list:create": Place & { list: string; title: string };
  "list:update": { list: string; title: string };
  "list:move": Place & { list: string };
  "list:delete": { list: string };
}

/** One write of whatever kind. */
export type Write = { [K in keyof Writes]: { event: K; data: Writes[K] } }[keyof Writes];

const kinds = /^(card|list):(create|update|move|delete)$/;

/** Whether an event of the queue is a write to a board. */
export const isWrite = (event: string): event is keyof Writes => kinds.test(event);

/** A board on which writes are tried out. */
export interface Draft {
  lists: Map<string, List>;
  cards: Map<string, Card>;
}

/**
 * Does to a draft what the server will do to the board. What can't be done,
 * because something is not there, is left: the server will refuse it.
 */
export function perform(draft: Draft, write: Write, me: string, now: number): void {
  const { lists, cards } = draft;
  const inList = (list: string) => [...cards.values()].filter((card) => card.list === list);
  switch (write.event) {
    case "card:create": {
      const { card: id, list, title, text = "", color = "", before, after } = write.data;
      if (cards.has(id) || !lists.has(list)) return;
      const key = place(inList(list), id, before, after);
      cards.set(id, { id, list, title, text, color, done: false, key, version: 0, author: me, editor: me, created: now, updated: now });
      return;
    }
    case "card:update": {
      const { card: id, was: _, ...edit } = write.data;
      const card = cards.get(id);
      if (card) cards.set(id, { ...card, ...edit });
      return;
    }
    case "card:move": {
      const card = cards.get(write.data.card);
      const list = write.data.list ?? card?.list ?? "";
      if (!card || !lists.has(list)) return;
      cards.set(card.id, { ...card, list, key: place(inList(list), card.id, write.data.before, write.data.after) });
      return;
    }
    case "card:delete":
      cards.delete(write.data.card);
      return;
    case "list:create": {
      const { list: id, title, before, after } = write.data;
      if (!lists.has(id)) lists.set(id, { id, title, key: place(lists.values(), id, before, after), version: 0 });
      return;
    }
    case "list:update": {
      const list = lists.get(write.data.list);
      if (list) lists.set(list.id, { ...list, title: write.data.title });
      return;
    }
    case "list:move": {
      const list = lists.get(write.data.list);
      if (list) lists.set(list.id, { ...list, key: place(lists.values(), list.id, write.data.before, write.data.after) });
      return;
    }
    case "list:delete": {
      const { list } = write.data;
      if (lists.delete(list)) for (const card of inList(list)) cards.delete(card.id);
      return;
    }
  }
}

/** The id of the card or list that a write is about. */
export function subject({ event, data }: Write): string {
  const { card, list } = data as { card?: string; list?: string };
  return (event.startsWith("card:") ? card : list)!;
}
