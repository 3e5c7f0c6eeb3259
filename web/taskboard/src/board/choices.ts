import { go } from "../router.js";
import type { Card, List } from "../types.js";
import type { BoardUi } from "./context.js";
import type { Choice } from "./menu.js";

/** What can be done with a card, as a menu. */
export function cardChoices({ sync, remove }: BoardUi, card: Card, move: (card: string) => void): Choice[] {
  return [
    { label: "Open", icon: "edit", act: () => go({ at: "board", board: sync.board, card: card.id }) },
    { label: "Move to…", icon: "move", act: () => move(card.id) },
    {
      label: card.done ? "Not done" : "Done", icon: "check",
      act: () => sync.write("card:update", { card: card.id, done: !card.done }),
    },
    { label: "Delete", icon: "trash", danger: true, act: () => remove(card) },
  ];
}

/** What can be done with a list. */
export function listChoices({ sync, addTo, rename, removeList, announce }: BoardUi, list: List): Choice[] {
  const row = sync.lists();
  const at = row.findIndex(({ id }) => id === list.id);
  const beside = (by: -1 | 1): Choice => ({
    label: by < 0 ? "Move left" : "Move right", icon: by < 0 ? "back" : "move",
    act: () => {
      const [before, after] = by < 0 ? [row[at - 1], row[at - 2]] : [row[at + 2], row[at + 1]];
      sync.write("list:move", { list: list.id, before: before?.id, after: after?.id });
      announce(`${list.title} is at position ${at + by + 1} of ${row.length}`);
    },
  });
  return [
    { label: "Add a card", icon: "plus", act: () => addTo(list.id) },
    { label: "Rename", icon: "edit", act: () => rename(list.id) },
    ...(at > 0 ? [beside(-1)] : []),
    ...(at < row.length - 1 ? [beside(1)] : []),
    { label: "Delete with its cards", icon: "trash", danger: true, act: () => removeList(list) },
  ];
}
