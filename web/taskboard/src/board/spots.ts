// Where cards and lists can be put, as the page shows them, and the line that
// shows where one would be. It works on elements, so that dragging renders nothing.

/** What is moved. */
export interface Thing {
  kind: "card" | "list";
  id: string;
}

/** Where to: in a list (of a card), between two neighbours. */
export interface Spot {
  list?: string | undefined;
  before?: string | undefined;
  after?: string | undefined;
}

export const columnsOf = (board: HTMLElement): HTMLElement[] => [...board.querySelectorAll<HTMLElement>("[data-list]")];

export const cardsOf = (column: HTMLElement): HTMLElement[] => [...column.querySelectorAll<HTMLElement>("[data-card]")];

export const elementOf = (board: HTMLElement, { kind, id }: Thing): HTMLElement | null =>
  board.querySelector(`[data-${kind}="${CSS.escape(id)}"]`);

/** The spot at an index among others. */
export function spotAt(others: HTMLElement[], at: number, kind: Thing["kind"], list?: string): Spot {
  return { ...(list && { list }), before: others[at]?.dataset[kind], after: others[at - 1]?.dataset[kind] };
}

const others = (all: HTMLElement[], thing: Thing) => all.filter((element) => element.dataset[thing.kind] !== thing.id);

/** The spot under a point. */
export function spotUnder(board: HTMLElement, thing: Thing, x: number, y: number): Spot | undefined {
  const columns = columnsOf(board);
  if (thing.kind === "list") {
    const rest = others(columns, thing);
    return spotAt(rest, indexUnder(rest, "x", x), "list");
  }
  const column = columns.find((column) => x < column.getBoundingClientRect().right + 8) ?? columns.at(-1);
  if (!column) return undefined;
  const rest = others(cardsOf(column), thing);
  return spotAt(rest, indexUnder(rest, "y", y), "card", column.dataset["list"]);
}

// How many of a row are before a point. They stand in their order, so that few need to be measured.
function indexUnder(row: HTMLElement[], axis: "x" | "y", point: number): number {
  let [low, high] = [0, row.length];
  while (low < high) {
    const half = (low + high) >> 1;
    if (point < middle(row[half]!, axis)) high = half;
    else low = half + 1;
  }
  return low;
}

function middle(element: HTMLElement, axis: "x" | "y"): number {
  const { left, width, top, height } = element.getBoundingClientRect();
  return axis === "x" ? left + width / 2 : top + height / 2;
}

/** Whether something is at a spot already. */
export function isThere(board: HTMLElement, thing: Thing, spot: Spot): boolean {
  const element = elementOf(board, thing);
  const column = element?.closest<HTMLElement>("[data-list]");
  if (!element || !column || (thing.kind === "card" && column.dataset["list"] !== spot.list)) return false;
  const row = thing.kind === "card" ? cardsOf(column) : columnsOf(board);
  const at = row.indexOf(element);
  return row[at + 1]?.dataset[thing.kind] === spot.before && row[at - 1]?.dataset[thing.kind] === spot.after;
}

/** Shows the line where a thing would be; no spot, no line. */
export function showLine(line: HTMLElement, board: HTMLElement, kind: Thing["kind"], spot: Spot | undefined): void {
  line.hidden = !spot;
  if (!spot) return;
  const before = spot.before && elementOf(board, { kind, id: spot.before })?.getBoundingClientRect();
  const after = spot.after && elementOf(board, { kind, id: spot.after })?.getBoundingClientRect();
  const frame = (kind === "card" ? elementOf(board, { kind: "list", id: spot.list! })?.querySelector(".cards") : board)?.getBoundingClientRect();
  if (!frame) return;
  const { width, height } =
    kind === "card" ? { width: frame.width - 16, height: 4 } : { width: 4, height: Math.min(frame.height - 24, 320) };
  let x = frame.left + 8;
  let y = frame.top + 2;
  if (kind === "card") {
    if (before) y = before.top - 6;
    else if (after) y = after.bottom + 2;
    y = Math.min(Math.max(y, frame.top), frame.bottom);
  } else {
    y = frame.top + 12;
    x = before ? before.left - 10 : after ? after.right + 6 : x;
  }
  line.style.cssText = `width:${width}px;height:${height}px;transform:translate(${x}px,${y}px)`;
}
