import { useState } from "react";
import type { Card } from "../types.js";
import { Button, Dialog } from "../ui/index.js";
import { useBoardUi } from "./context.js";
import type { Column } from "./view.js";

/** Moves a card by choosing where to: the simple way, without dragging. */
export function MoveDialog({ card, columns, onClose }: { card: Card; columns: readonly Column[]; onClose: () => void }) {
  const { sync, announce } = useBoardUi();
  const [list, setList] = useState(card.list);
  const to = columns.find((column) => column.list.id === list);
  const others = (to?.cards ?? []).filter((other) => other.id !== card.id);
  const here = to?.cards.findIndex((other) => other.id === card.id) ?? -1;
  const [chosen, setAt] = useState<number>();
  const at = Math.min(chosen ?? (here >= 0 ? here : others.length), others.length);
  const move = () => {
    if (to) sync.write("card:move", { card: card.id, list, before: others[at]?.id, after: others[at - 1]?.id });
    announce(`${card.title} was moved to ${to?.list.title}, position ${at + 1}`);
    onClose();
  };
  return (
    <Dialog title={`Move “${card.title}”`} onClose={onClose}>
      <form className="card-form" onSubmit={(event) => (event.preventDefault(), move())}>
        <div className="field">
          <label htmlFor="move-list">List</label>
          <select id="move-list" data-first="" value={list} onChange={(event) => (setList(event.target.value), setAt(undefined))}>
            {columns.map(({ list: { id, title } }) => (
              <option key={id} value={id}>
                {title}
              </option>
            ))}
          </select>
        </div>
        <div className="field">
          <label htmlFor="move-at">Position</label>
          <select id="move-at" value={at} onChange={(event) => setAt(Number(event.target.value))}>
            {[...others, undefined].map((other, i) => (
              <option key={other?.id ?? ""} value={i}>
                {i + 1}
                {other ? `, before ${other.title}` : others.length ? ", at the end" : ""}
              </option>
            ))}
          </select>
        </div>
        <div className="card-form-foot">
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" type="submit" disabled={!to}>
            Move
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
