import "./board.css";

/** The user's boards, and the making of one. */
export function Boards() {
  return null;
}

/** One board, live. `card` is the one that is open. */
export function BoardPage(_: { board: string; card: string | undefined }) {
  return null;
}
