import { elementOf, isThere, showLine, spotUnder, type Spot, type Thing } from "./spots.js";

/** What dragging needs of its board. */
export interface DragHost {
  board: HTMLElement;
  line: HTMLElement;
  drop: (thing: Thing, to: Spot) => void;
}

const still = 6; // px that a mouse may move in a click, and a finger while it presses
const press = 300; // ms until a finger that rests picks up
const edge = 56; // px from an edge where the board scrolls

interface Grab {
  thing: Thing;
  element: HTMLElement;
  pointer: number;
  x: number;
  y: number;
  dx: number;
  dy: number;
  timer?: ReturnType<typeof setTimeout>;
  ghost?: HTMLElement;
  spot?: Spot | undefined;
  frame?: number;
  /** Where it was when the spot was looked for, and for how many frames it has rested there since. */
  seen?: string;
  rested: number;
}

/** Lets cards and lists be dragged by mouse, pen and finger: a finger has to rest first, as it also scrolls. */
export function enableDrag({ board, line, drop }: DragHost): () => void {
  let grab: Grab | undefined;

  const down = (event: PointerEvent) => {
    const target = event.target as HTMLElement;
    if (grab || event.button !== 0 || !event.isPrimary || target.closest("button:not(.grip), input, textarea, .conflict")) return;
    const element = target.closest<HTMLElement>("[data-card]") ?? target.closest("[data-grip]")?.closest<HTMLElement>("[data-list]");
    if (!element) return;
    const { card, list } = element.dataset;
    const { left, top } = element.getBoundingClientRect();
    const { clientX: x, clientY: y } = event;
    grab = {
      thing: card ? { kind: "card", id: card } : { kind: "list", id: list! },
      element, pointer: event.pointerId, x, y, dx: x - left, dy: y - top, rested: 0,
    };
    if (event.pointerType === "touch") grab.timer = setTimeout(lift, press);
    addEventListener("pointermove", move);
    addEventListener("pointerup", up);
    addEventListener("pointercancel", cancel);
  };

  const move = (event: PointerEvent) => {
    if (!grab || event.pointerId !== grab.pointer) return;
    const { clientX: x, clientY: y } = event;
    if (!grab.ghost) {
      if (Math.hypot(x - grab.x, y - grab.y) <= still) return;
      if (event.pointerType === "touch") return cancel();
      lift();
    }
    grab.x = x;
    grab.y = y;
  };

  const lift = () => {
    if (!grab) return;
    const { element, thing } = grab;
    const { width, height } = element.getBoundingClientRect();
    const ghost = element.cloneNode(true) as HTMLElement;
    ghost.classList.add("ghost");
    ghost.inert = true;
    ghost.style.width = `${width}px`;
    ghost.style.height = `${Math.min(height, 360)}px`;
    for (const part of [ghost, ...ghost.querySelectorAll("[id]")]) part.removeAttribute("id");
    for (const name of ["data-card", "data-list"]) for (const part of [ghost, ...ghost.querySelectorAll(`[${name}]`)]) part.removeAttribute(name);
    document.body.append(ghost);
    document.documentElement.dataset["dragging"] = thing.kind;
    element.dataset["lifted"] = "";
    grab.ghost = ghost;
    addEventListener("keydown", key, true);
    getSelection()?.removeAllRanges();
    navigator.vibrate?.(10);
    frame();
  };

  const frame = () => {
    if (!grab?.ghost) return;
    const { ghost, thing, x, y, dx, dy } = grab;
    ghost.style.transform = `translate(${x - dx}px,${y - dy}px) rotate(${thing.kind === "card" ? 1.5 : 0.5}deg)`;
    const seen = `${x} ${y} ${scroll(board, x, y, thing.kind === "card")}`;
    // Who rests over a spot may have others move cards there: that is looked at now and then.
    if (seen !== grab.seen || ++grab.rested > 20) {
      const spot = spotUnder(board, thing, x, y);
      grab.spot = spot && !isThere(board, thing, spot) ? spot : undefined;
      showLine(line, board, thing.kind, grab.spot);
      Object.assign(grab, { seen, rested: 0 });
    }
    grab.frame = requestAnimationFrame(frame);
  };

  const up = () => {
    const { ghost, thing, spot } = grab ?? {};
    if (ghost) {
      // The click that follows is none.
      const swallow = (event: Event) => (event.preventDefault(), event.stopPropagation());
      addEventListener("click", swallow, true);
      setTimeout(() => removeEventListener("click", swallow, true));
    }
    cancel();
    if (thing && spot) drop(thing, spot);
  };

  const cancel = () => {
    if (!grab) return;
    const { timer, ghost, element, thing, frame } = grab;
    grab = undefined;
    clearTimeout(timer);
    if (frame) cancelAnimationFrame(frame);
    ghost?.remove();
    line.hidden = true;
    for (const lifted of [element, elementOf(board, thing)]) delete lifted?.dataset["lifted"];
    delete document.documentElement.dataset["dragging"];
    removeEventListener("pointermove", move);
    removeEventListener("pointerup", up);
    removeEventListener("pointercancel", cancel);
    removeEventListener("keydown", key, true);
  };

  const key = (event: KeyboardEvent) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation();
    cancel();
  };
  // While something is carried a finger scrolls nothing, and a long press opens no menu of the browser's.
  const touch = (event: TouchEvent) => grab?.ghost && event.cancelable && event.preventDefault();
  const menu = (event: Event) => grab && event.preventDefault();

  board.addEventListener("pointerdown", down);
  board.addEventListener("touchmove", touch, { passive: false });
  board.addEventListener("contextmenu", menu);
  return () => {
    cancel();
    board.removeEventListener("pointerdown", down);
    board.removeEventListener("touchmove", touch);
    board.removeEventListener("contextmenu", menu);
  };
}

// Faster, the nearer the pointer is to an edge. Returns where all of it is scrolled to.
function scroll(board: HTMLElement, x: number, y: number, rows: boolean): string {
  const by = (at: number, from: number, to: number) =>
    at < from + edge ? -Math.min(edge, from + edge - at) / 4 : at > to - edge ? Math.min(edge, at - to + edge) / 4 : 0;
  const { left, right } = board.getBoundingClientRect();
  const sideways = by(x, left, right);
  if (sideways) board.scrollLeft += sideways;
  const cards = rows && document.elementFromPoint(x, y)?.closest("[data-list]")?.querySelector(".cards");
  if (!cards) return `${board.scrollLeft}`;
  const { top, bottom } = cards.getBoundingClientRect();
  const down = by(y, top, bottom);
  if (down) cards.scrollTop += down;
  return `${board.scrollLeft} ${cards.scrollTop}`;
}
