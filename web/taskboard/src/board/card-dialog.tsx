import { useEffect, useRef, useState, type RefObject } from "react";
import type { Card, Color } from "../types.js";
import { Button, Dialog, Field, Icon } from "../ui/index.js";
import { clip, textBytes, titleBytes } from "./clip.js";
import { ConflictOnCard } from "./conflict.js";
import { useBoardUi } from "./context.js";
import type { Conflict } from "./model.js";
import type { Seen } from "./writes.js";

const colors: [Color, string][] = [
  ["", "None"], ["red", "Red"], ["orange", "Orange"], ["yellow", "Yellow"], ["green", "Green"], ["blue", "Blue"], ["purple", "Purple"],
];

/** A card, large. What is written in it is kept when it closes, however that is. */
export function CardDialog({ card, list, conflict, onClose }: { card: Card; list: string; conflict: Conflict | undefined; onClose: () => void }) {
  const { edit } = useBoardUi();
  return (
    <Dialog title={edit ? "Card" : card.title} onClose={onClose}>
      {conflict && <ConflictOnCard conflict={conflict} card={card} />}
      {edit ? <Editor card={card} list={list} onClose={onClose} /> : <Reader card={card} list={list} />}
    </Dialog>
  );
}

function Reader({ card, list }: { card: Card; list: string }) {
  return (
    <div className="card-read">
      <p className="hint">
        In {list}
        {card.done && ", done"}
      </p>
      {card.text ? <p className="card-text" dir="auto">{card.text}</p> : <p className="hint">This card has no text.</p>}
    </div>
  );
}

/** The fields follow what others write, until this user changes them. */
function useDraft(card: Card) {
  const [seen, setSeen] = useState({ title: card.title, text: card.text });
  const [draft, setDraft] = useState(seen);
  const dirty = draft.title !== seen.title || draft.text !== seen.text;
  // What is the same as the draft is this user's own, kept while the page was covered: nobody has overtaken it.
  const own = draft.title === card.title && draft.text === card.text;
  if ((!dirty || own) && (seen.title !== card.title || seen.text !== card.text)) {
    const now = { title: card.title, text: card.text };
    setSeen(now);
    setDraft(now);
  }
  const changed: Seen = {
    ...(draft.title.trim() && draft.title.trim() !== seen.title && { title: draft.title.trim() }),
    ...(draft.text !== seen.text && { text: draft.text }),
  };
  return { draft, seen, changed, dirty, set: (part: Seen) => setDraft({ ...draft, ...part }), reset: () => setDraft(seen) };
}

// A page that is out of sight may never come back: phones end it without a word. One that is left or loaded anew has no
// time to keep anything: there the browser asks.
function useKeptInTime(dirty: boolean, keep: RefObject<() => void>): void {
  useEffect(() => {
    if (!dirty) return;
    const hidden = () => document.visibilityState === "hidden" && keep.current();
    const leaving = (event: Event) => event.preventDefault();
    document.addEventListener("visibilitychange", hidden);
    addEventListener("beforeunload", leaving);
    return () => {
      document.removeEventListener("visibilitychange", hidden);
      removeEventListener("beforeunload", leaving);
    };
  }, [dirty, keep]);
}

function Editor({ card, list, onClose }: { card: Card; list: string; onClose: () => void }) {
  const { sync, remove } = useBoardUi();
  const { draft, seen, changed, dirty, set, reset } = useDraft(card);
  const overtaken = dirty && (card.title !== seen.title || card.text !== seen.text);
  const keep = useRef(() => {});
  keep.current = () => {
    if (changed.title !== undefined || changed.text !== undefined) sync.write("card:update", { card: card.id, was: seen, ...changed });
  };
  // Escape, the way back and a link elsewhere all end in this.
  const kept = useRef(false);
  useEffect(() => () => void (kept.current || keep.current()), []);
  useKeptInTime(dirty, keep);
  const area = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    area.current!.style.height = "auto";
    area.current!.style.height = `${area.current!.scrollHeight + 2}px`;
  }, [draft.text]);
  return (
    <form
      className="card-form"
      onSubmit={(event) => (event.preventDefault(), onClose())}
      onInput={() => sync.typing()}
      onKeyDown={(event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && onClose()}
    >
      <Field
        label="Title"
        value={draft.title}
        error={draft.title.trim() ? undefined : "A card needs a title: the old one is kept."}
        onChange={(event) => set({ title: clip(event.target.value, titleBytes) })}
      />
      <div className="field">
        <label htmlFor="card-text">Text</label>
        <textarea
          id="card-text"
          dir="auto"
          ref={area}
          rows={4}
          value={draft.text}
          placeholder="What is to be done?"
          onChange={(event) => set({ text: clip(event.target.value, textBytes) })}
        />
      </div>
      <p className="hint card-overtaken" role="status">
        {overtaken && (
          <>
            <Icon name="warn" /> {sync.editor(card.id) || "Somebody"} has changed this card meanwhile. If you keep yours, you can compare.{" "}
            <button type="button" className="link" onClick={reset}>
              Take theirs
            </button>
          </>
        )}
      </p>
      <fieldset className="colors">
        <legend>Colour</legend>
        {colors.map(([color, name]) => (
          <label key={color} data-color={color || undefined} title={name}>
            <input
              type="radio"
              name="color"
              className="sr"
              checked={card.color === color}
              onChange={() => sync.write("card:update", { card: card.id, color })}
            />
            <span className="swatch" aria-hidden="true" />
            <span className="sr">{name}</span>
          </label>
        ))}
      </fieldset>
      <label className="check">
        <input type="checkbox" checked={card.done} onChange={() => sync.write("card:update", { card: card.id, done: !card.done })} /> Done
      </label>
      <div className="card-form-foot">
        <p className="hint">In {list}</p>
        <Button
          kind="danger"
          onClick={() => {
            kept.current = true;
            onClose();
            remove(card);
          }}
        >
          Delete
        </Button>
        <Button kind="primary" type="submit">
          Save
        </Button>
      </div>
    </form>
  );
}
