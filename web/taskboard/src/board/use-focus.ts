import { useEffect, useLayoutEffect, useRef, type RefObject } from "react";
import { cardsOf, columnsOf, elementOf } from "./spots.js";

/**
 * Keeps the focus where it is when its card moves to another list, which makes
 * another element of it; when the card is deleted, the focus goes to the one
 * that has come into its place.
 */
export function useFocusKept(board: RefObject<HTMLElement | null>, changed: unknown): void {
  const last = useRef<{ card: string; list: string; at: number } | undefined>(undefined);
  useEffect(() => {
    const root = board.current;
    if (!root) return;
    const came = ({ target }: FocusEvent) => {
      last.current = where(root, (target as HTMLElement).closest<HTMLElement>("[data-card]"));
    };
    const went = ({ target }: FocusEvent) => {
      const left = last.current;
      // An element that is still there has lost the focus to another one.
      queueMicrotask(() => (target as Node).isConnected && last.current === left && (last.current = undefined));
    };
    root.addEventListener("focusin", came);
    root.addEventListener("focusout", went);
    return () => {
      root.removeEventListener("focusin", came);
      root.removeEventListener("focusout", went);
    };
  }, [board]);
  useLayoutEffect(() => {
    const root = board.current;
    const { card, list, at } = last.current ?? {};
    if (!root || !card) return;
    const element = elementOf(root, { kind: "card", id: card });
    if (document.activeElement === document.body) {
      const column = elementOf(root, { kind: "list", id: list! }) ?? columnsOf(root)[0];
      const cards = column ? cardsOf(column) : [];
      const to = element ?? cards[Math.min(at!, cards.length - 1)];
      (to?.querySelector<HTMLElement>(".card-link") ?? column?.querySelector<HTMLElement>(".add"))?.focus();
    } else if (element) last.current = where(root, element);
  }, [board, changed]);
}

function where(root: HTMLElement, card: HTMLElement | null) {
  const column = card?.closest<HTMLElement>("[data-list]");
  if (!card || !column || !root.contains(card)) return undefined;
  return { card: card.dataset["card"]!, list: column.dataset["list"]!, at: cardsOf(column).indexOf(card) };
}
