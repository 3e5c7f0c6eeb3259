import { memo, useEffect, useRef } from "react";
import { href } from "../router.js";
import type { Card } from "../types.js";
import { Icon } from "../ui/index.js";
import { ConflictOnCard } from "./conflict.js";
import { useBoardUi } from "./context.js";
import type { Conflict } from "./model.js";

interface Props {
  card: Card;
  pending: boolean;
  conflict: Conflict | undefined;
  /** Changes when somebody else changes the card. */
  flash: number | undefined;
  /** The Tab key stops here: at one card of each list. */
  stop: boolean;
}

/** A card in its list. */
export const CardItem = memo(function CardItem({ card, pending, conflict, flash, stop }: Props) {
  const { sync, edit, cardMenu } = useBoardUi();
  const whole = useRef<HTMLLIElement>(null);
  useFlash(whole, flash);
  const tab = stop ? 0 : -1;
  return (
    <li ref={whole} className="card" data-card={card.id} data-color={card.color || undefined} data-done={card.done || undefined}>
      {edit ? (
        <button
          type="button"
          role="checkbox"
          aria-checked={card.done}
          aria-label={`Done: ${card.title}`}
          className="tick"
          tabIndex={tab}
          onClick={() => sync.write("card:update", { card: card.id, done: !card.done })}
        >
          <Icon name="check" />
        </button>
      ) : (
        card.done && (
          <span className="tick still">
            <Icon name="check" />
            <span className="sr">Done</span>
          </span>
        )
      )}
      <a
        className="card-link"
        dir="auto"
        draggable={false}
        tabIndex={tab}
        href={href({ at: "board", board: sync.board, card: card.id })}
        aria-describedby={edit ? "board-keys" : undefined}
      >
        {card.title}
      </a>
      {pending && (
        <span className="pending" title="Waiting for the network">
          <Icon name="clock" />
          <span className="sr">, waiting for the network</span>
        </span>
      )}
      {card.text && (
        <span className="card-signs" title="Has a text">
          <Icon name="text" />
          <span className="sr">, has a text</span>
        </span>
      )}
      {edit && (
        <button
          type="button"
          className="card-menu"
          tabIndex={tab}
          aria-haspopup="menu"
          aria-label={`More for ${card.title}`}
          onClick={(event) => cardMenu(card, event.currentTarget)}
        >
          <Icon name="dots" />
        </button>
      )}
      {conflict && <ConflictOnCard conflict={conflict} card={card} />}
    </li>
  );
});

// Softly, and only for what is not seen for the first time. Two names that take
// turns make it begin anew.
function useFlash(ref: React.RefObject<HTMLElement | null>, flash: number | undefined): void {
  const last = useRef(flash);
  useEffect(() => {
    if (flash === last.current) return;
    last.current = flash;
    const { dataset } = ref.current!;
    dataset["flash"] = dataset["flash"] === "a" ? "b" : "a";
  }, [ref, flash]);
}
