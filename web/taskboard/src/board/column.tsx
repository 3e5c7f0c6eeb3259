import { memo, useEffect, useRef, useState } from "react";
import { flushSync } from "react-dom";
import { Icon } from "../ui/index.js";
import { AddLine } from "./add.js";
import { CardItem } from "./card.js";
import { clip, titleBytes } from "./clip.js";
import { useBoardUi } from "./context.js";
import { newId } from "./ids.js";
import type { Conflict } from "./model.js";
import type { Column } from "./view.js";

interface Props {
  column: Column;
  pending: ReadonlySet<string>;
  conflicts: ReadonlyMap<string, Conflict>;
  touched: ReadonlyMap<string, number>;
  /** The card that had the focus last, if it is here. */
  active: string | undefined;
  adding: boolean;
  renaming: boolean;
}

/** A list with its cards. */
export const ColumnView = memo(function ColumnView({ column: { list, cards }, pending, conflicts, touched, active, adding, renaming }: Props) {
  const { sync, edit, addTo, listMenu, announce } = useBoardUi();
  const stop = active ?? cards[0]?.id;
  const titleId = `list-${list.id}`;
  return (
    <section className="column" data-list={list.id} aria-labelledby={titleId}>
      <header className="column-head" data-grip={edit || undefined}>
        {renaming ? (
          <Rename id={list.id} title={list.title} />
        ) : (
          <h2 id={titleId} dir="auto">{list.title}</h2>
        )}
        <span className="count" aria-label={`${cards.length} ${cards.length === 1 ? "card" : "cards"}`}>
          {cards.length}
        </span>
        {pending.has(list.id) && <Waiting />}
        {edit && (
          <>
            <button type="button" className="small-button grip" data-list-grip={list.id} aria-label={`Move the list ${list.title}`} aria-describedby="board-keys">
              <Icon name="grip" />
            </button>
            <button
              type="button"
              className="small-button"
              aria-haspopup="menu"
              aria-label={`More for the list ${list.title}`}
              onClick={(event) => listMenu(list, event.currentTarget)}
            >
              <Icon name="dots" />
            </button>
          </>
        )}
      </header>
      <ol className="cards">
        {cards.map((card) => (
          <CardItem
            key={card.id}
            card={card}
            pending={pending.has(card.id)}
            conflict={conflicts.get(card.id)}
            flash={touched.get(card.id)}
            stop={card.id === stop}
          />
        ))}
      </ol>
      {edit && (
        <div className="column-foot">
          {adding ? (
            <AddLine
              label={`New card in ${list.title}`}
              onAdd={(title) => {
                sync.write("card:create", { card: newId(), list: list.id, title, after: cards.at(-1)?.id });
                announce(`${title} was added to ${list.title}`);
              }}
              onClose={() => addTo(undefined)}
            />
          ) : (
            <button type="button" className="add" data-add={list.id} onClick={() => addTo(list.id)}>
              <Icon name="plus" /> Add a card<span className="sr"> to {list.title}</span>
            </button>
          )}
        </div>
      )}
    </section>
  );
});

function Waiting() {
  return (
    <span className="pending" title="Waiting for the network">
      <Icon name="clock" />
      <span className="sr">, waiting for the network</span>
    </span>
  );
}

/** The list's name, being changed. Enter or leaving it keeps what was written, Escape does not. */
function Rename({ id, title }: { id: string; title: string }) {
  const { sync, rename } = useBoardUi();
  const [draft, setDraft] = useState(title);
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => input.current!.select(), []);
  const end = (keep: boolean) => {
    if (keep && draft.trim() && draft.trim() !== title) sync.write("list:update", { list: id, title: draft.trim() });
    rename(undefined);
  };
  return (
    <h2 className="column-rename">
      <input
        ref={input}
        autoFocus
        aria-label={`Name of the list ${title}`}
        id={`list-${id}`}
        dir="auto"
        value={draft}
        onChange={(event) => setDraft(clip(event.target.value, titleBytes))}
        onBlur={() => end(true)}
        onKeyDown={(event) => {
          event.stopPropagation();
          // Enter also ends the writing of a sign of many keys.
          if ((event.key !== "Enter" || event.nativeEvent.isComposing) && event.key !== "Escape") return;
          event.preventDefault(); // the button that has the focus then is not pressed by it
          const head = input.current!.closest("header")!;
          flushSync(() => end(event.key === "Enter"));
          head.querySelector<HTMLElement>("[aria-haspopup=menu]")?.focus();
        }}
      />
    </h2>
  );
}
