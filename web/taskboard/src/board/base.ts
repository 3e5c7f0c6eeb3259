import type { Board, BoardState, Card, Change, Link, List, Member } from "../types.js";
import { byKey } from "./order.js";

/** What the server has said of a board, up to `board.rev`. Never changed, but replaced. */
export interface Base {
  readonly board: Board;
  readonly lists: ReadonlyMap<string, List>;
  readonly cards: ReadonlyMap<string, Card>;
  readonly members: readonly Member[];
  readonly links: readonly Link[];
}

const byId = <T extends { id: string }>(items: readonly T[]) => new Map(items.map((item) => [item.id, item]));

export const baseOf = ({ board, lists, cards, members, links = [] }: BoardState): Base => ({
  board, lists: byId(lists), cards: byId(cards), members, links,
});

/** As the server would answer, with everything in its order. */
export const stateOf = ({ board, lists, cards, members, links }: Base): BoardState => ({
  board,
  lists: [...lists.values()].sort(byKey),
  cards: [...cards.values()].sort((a, b) => (a.list === b.list ? byKey(a, b) : a.list < b.list ? -1 : 1)),
  members: [...members],
  ...(links.length > 0 && { links: [...links] }),
});

function put<T extends { id: string; key: string }>(
  items: ReadonlyMap<string, T>,
  item: T,
  keys: Record<string, string> = {},
): ReadonlyMap<string, T> {
  const next = new Map(items).set(item.id, item);
  for (const [id, key] of Object.entries(keys)) {
    const other = next.get(id);
    if (other) next.set(id, { ...other, key });
  }
  return next;
}

function without<T>(items: ReadonlyMap<string, T>, id: string): ReadonlyMap<string, T> {
  const next = new Map(items);
  next.delete(id);
  return next;
}

/** The board after the event that comes next. `me` is the user whose role `board` has. */
export function applied(base: Base, event: string, change: Change, me: string): Base {
  const { card, list, member, title, keys, rev } = change;
  const next = { ...base, board: { ...base.board, rev } };
  switch (event) {
    case "task_created":
    case "task_updated":
    case "task_moved":
      return { ...next, cards: put(base.cards, card!, keys) };
    case "task_deleted":
      return { ...next, cards: without(base.cards, card!.id) };
    case "list_created":
    case "list_updated":
    case "list_moved":
      return { ...next, lists: put(base.lists, list!, keys) };
    case "list_deleted":
      return {
        ...next,
        lists: without(base.lists, list!.id),
        cards: new Map([...base.cards].filter(([, card]) => card.list !== list!.id)),
      };
    case "board_updated":
      return { ...next, board: { ...next.board, title: title ?? base.board.title } };
    case "member_added":
    case "member_updated":
      return withMember(next, member!, me);
    case "member_removed":
      return { ...next, members: base.members.filter(({ id }) => id !== member!.id) };
    default:
      return next;
  }
}

function withMember(base: Base, member: Member, me: string): Base {
  const old = base.members.find(({ id }) => id === member.id);
  const members = old
    ? base.members.map((other) => (other === old ? { ...(old.email && { email: old.email }), ...member } : other))
    : [...base.members, member];
  if (member.id !== me) return { ...base, members };
  const { link: _, ...board } = base.board;
  return { ...base, members, board: { ...board, role: member.role, ...(member.link && { link: true }) } };
}
