import type { Board, Card, List, Member } from "../types.js";
import type { Conflict, Model } from "./model.js";
import { byKey } from "./order.js";

/** A list as it is shown. */
export interface Column {
  readonly list: List;
  readonly cards: readonly Card[];
}

/** A board as it is shown. What has not changed is the same object as before. */
export interface Shown {
  readonly board: Board;
  readonly columns: readonly Column[];
  readonly members: readonly Member[];
  readonly pending: ReadonlySet<string>;
  readonly conflicts: ReadonlyMap<string, Conflict>;
  /** By card: the revision in which somebody else changed it. */
  readonly touched: ReadonlyMap<string, number>;
}

const same = <T>(a: readonly T[] | undefined, b: readonly T[]): boolean =>
  a?.length === b.length && b.every((item, i) => item === a[i]);

const sameEntries = <K, V>(a: ReadonlyMap<K, V> | undefined, b: ReadonlyMap<K, V>): boolean =>
  a?.size === b.size && [...b].every(([key, value]) => a.get(key) === value);

const keep = <T>(old: T | undefined, next: T, equal: boolean): T => (equal ? old! : next);

// Writes that wait are performed anew each time: what they make is the old object where it says the same.
const keepCard = (old: Card | undefined, card: Card): Card =>
  old && old !== card && (Object.keys(card) as (keyof Card)[]).every((key) => old[key] === card[key]) ? old : card;

/** Lays out what a model knows. */
export function show(model: Model, old?: Shown): Shown | undefined {
  const { base } = model;
  if (!base) return;
  const { lists, cards } = model.draft();
  const before = new Map(old?.columns.map((column) => [column.list.id, column]));
  const shownBefore = model.ops.length ? new Map(old?.columns.flatMap((c) => c.cards.map((card) => [card.id, card] as const))) : undefined;
  const rows = new Map<string, Card[]>([...lists.keys()].map((id) => [id, []]));
  for (const card of cards.values()) rows.get(card.list)?.push(keepCard(shownBefore?.get(card.id), card));
  const columns = [...lists.values()].sort(byKey).map((list): Column => {
    const was = before.get(list.id);
    const row = rows.get(list.id)!.sort(byKey);
    const cards = keep(was?.cards, row, same(was?.cards, row));
    const title = was?.list.title === list.title && was.list.key === list.key && was.list.version === list.version;
    return title && was.cards === cards ? was : { list, cards };
  });
  const pending = model.pending();
  const conflicts = new Map(model.conflicts.map((conflict) => [conflict.card, conflict]));
  const touched = new Map(model.touched);
  return {
    board: keep(old?.board, base.board, old?.board.title === base.board.title && old.board.role === base.board.role),
    columns: keep(old?.columns, columns, same(old?.columns, columns)),
    members: base.members,
    pending: keep(old?.pending, pending, same(old && [...old.pending], [...pending])),
    conflicts: keep(old?.conflicts, conflicts, sameEntries(old?.conflicts, conflicts)),
    touched: keep(old?.touched, touched, sameEntries(old?.touched, touched)),
  };
}
