import type { Card } from "../types.js";
import { Button, Icon } from "../ui/index.js";
import { useBoardUi } from "./context.js";
import type { Conflict } from "./model.js";

/** Two versions of a card, of which the user chooses one. Neither is lost until then. */
export function ConflictOnCard({ conflict: { mine }, card }: { conflict: Conflict; card: Card }) {
  const { sync, announce } = useBoardUi();
  const who = sync.editor(card.id) || "Somebody";
  const theirs = sync.theirs(card.id) ?? card;
  const choose = (keep: "mine" | "theirs") => {
    sync.resolve(card.id, keep);
    announce(keep === "mine" ? "Your version is kept" : `${who}’s version is kept`);
  };
  return (
    <div className="conflict" role="group" aria-label={`Conflict on ${theirs.title}`}>
      <p className="conflict-head">
        <Icon name="warn" /> {who} changed this while you were away
      </p>
      <dl>
        <Version label="Yours" title={mine.title} text={mine.text} />
        <Version label={who === "Somebody" ? "Theirs" : `${who}’s`} title={mine.title === undefined ? undefined : theirs.title} text={mine.text === undefined ? undefined : theirs.text} />
      </dl>
      <div className="conflict-foot">
        <Button onClick={() => choose("mine")}>Keep mine</Button>
        <Button onClick={() => choose("theirs")}>Keep {who === "Somebody" ? "theirs" : `${who}’s`}</Button>
      </div>
    </div>
  );
}

function Version({ label, title, text }: { label: string; title: string | undefined; text: string | undefined }) {
  return (
    <div>
      <dt>{label}</dt>
      <dd>
        {title !== undefined && <strong dir="auto">{title}</strong>}
        {text !== undefined && <span dir="auto">{text || "(no text)"}</span>}
      </dd>
    </div>
  );
}
