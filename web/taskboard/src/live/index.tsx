import "./live.css";

/** Whether the page is connected, and if not, why, and what happens next. */
export function ConnectionLight() {
  return null;
}

/** What just happened, in the client's own events: a small panel that teaches. */
export function Happenings() {
  return null;
}

/** Who is in a board's room. */
export function People(_: { room: string }) {
  return null;
}

/** Others' pointers over a board. Positions are parts (0–1) of its whole scrolled area. */
export function Pointers(_: { room: string; area: React.RefObject<HTMLElement | null> }) {
  return null;
}

/** Who is typing in a board's room. */
export function TypingLine(_: { room: string }) {
  return null;
}

/** How to use the same board from a terminal. */
export function Terminal() {
  return null;
}
