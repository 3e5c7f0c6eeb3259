import { useRealtimeClient } from "@holdfast/client/react";
import { useEffect } from "react";
import { hue } from "../ui/index.js";

/** How long a pointer that doesn't move is shown, in milliseconds. */
const stillness = 5000;

/** Milliseconds between two drawings where there are more than a few. */
const pace = 100;
const few = 5;

/** Somebody's pointer. Its place is in parts of the area. */
interface Pointer {
  element: HTMLElement;
  x: number;
  y: number;
  gone: ReturnType<typeof setTimeout>;
}

/**
 * Others' pointers over a board. Positions are parts (0–1) of its whole
 * scrolled area. They come a hundred times a second from a full room, so that
 * they go to the DOM directly, and React draws nothing anew.
 */
export function Pointers({ room, area }: { room: string; area: React.RefObject<HTMLElement | null> }) {
  const { socket } = useRealtimeClient();

  useEffect(() => {
    const board = area.current;
    if (!board) return;
    // It scrolls with the board.
    const layer = document.createElement("div");
    layer.className = "pointers";
    layer.ariaHidden = "true";
    board.append(layer);
    const hold = socket.join(room);
    const pointers = new Map<string, Pointer>();
    const moved = new Set<Pointer>();
    let frame = 0;
    let wait: ReturnType<typeof setTimeout> | undefined;
    let drawn = 0;
    let mine: { x: number; y: number } | null | undefined; // to be sent; null: it has left the board

    const remove = (id: string) => {
      const pointer = pointers.get(id);
      if (!pointer) return;
      clearTimeout(pointer.gone);
      pointer.element.remove();
      pointers.delete(id);
      moved.delete(pointer);
    };
    const clear = () => [...pointers.keys()].forEach(remove);

    const draw = () => {
      frame = 0;
      drawn = performance.now();
      if (moved.size || mine) {
        const { scrollWidth: width, scrollHeight: height } = board;
        for (const { element, x, y } of moved) {
          element.style.transform = `translate(${x * width}px, ${y * height}px)`;
          // At the edges it is drawn inwards, so that it makes the board no larger.
          element.classList.toggle("leftward", (1 - x) * width < 180);
          element.classList.toggle("upward", (1 - y) * height < 48);
          if (!element.isConnected) layer.append(element); // where it is first, it does not glide to
        }
        moved.clear();
        if (mine) {
          const { left, top } = board.getBoundingClientRect();
          const x = (mine.x - left - board.clientLeft + board.scrollLeft) / width;
          const y = (mine.y - top - board.clientTop + board.scrollTop) / height;
          hold.signal("cursor", { x: round(x), y: round(y) });
        }
      }
      if (mine === null) hold.signal("cursor", null);
      mine = undefined;
    };
    // A full room moves at every moment. Its pointers are drawn ten times a second, and glide by their transition,
    // which costs the page nothing; a few are drawn when they move.
    const soon = () => {
      if (frame || wait) return;
      const rest = pointers.size > few ? pace - (performance.now() - drawn) : 0;
      if (rest > 0) wait = setTimeout(() => ((wait = undefined), (frame = requestAnimationFrame(draw))), rest);
      else frame = requestAnimationFrame(draw);
    };

    const seen = (data: unknown, { from }: { from: string }) => {
      const place = placeOf(data);
      if (!place) return remove(from);
      let pointer = pointers.get(from);
      if (!pointer) {
        if (pointers.size > 249) return;
        const name = hold.present.find((user) => user.id === from)?.name;
        pointer = { element: draws(from, name), x: 0, y: 0, gone: 0 as never };
        pointers.set(from, pointer);
      }
      clearTimeout(pointer.gone);
      pointer.gone = setTimeout(() => remove(from), stillness);
      Object.assign(pointer, place);
      moved.add(pointer);
      soon();
    };

    const move = (event: PointerEvent) => {
      if (event.pointerType === "touch") return; // a finger has no place between its touches
      mine = { x: event.clientX, y: event.clientY };
      soon();
    };
    const leave = (event: PointerEvent) => {
      if (event.pointerType === "touch") return;
      mine = null;
      soon();
    };
    hold.onSignal("cursor", seen);
    hold.onPresence((event) => {
      if (event.kind === "leave") remove(event.user.id);
      else if (event.kind === "sync") clear(); // after a reconnect: those who are there move again
    });
    hold.onLeft(clear);
    board.addEventListener("pointermove", move, { passive: true });
    board.addEventListener("pointerleave", leave, { passive: true });
    return () => {
      cancelAnimationFrame(frame);
      clearTimeout(wait);
      board.removeEventListener("pointermove", move);
      board.removeEventListener("pointerleave", leave);
      clear();
      layer.remove();
      queueMicrotask(() => hold.leave()); // who joins in the same commit keeps the room
    };
  }, [socket, room, area]);

  return null;
}

const round = (part: number) => Math.round(Math.min(1, Math.max(0, part)) * 10_000) / 10_000;

/** What others send is theirs: only a place in the area is one. */
function placeOf(data: any): { x: number; y: number } | undefined {
  const { x, y } = data ?? {};
  return x >= 0 && x <= 1 && y >= 0 && y <= 1 ? { x: Number(x), y: Number(y) } : undefined;
}

const svg = "http://www.w3.org/2000/svg";

function draws(id: string, name: string | undefined): HTMLElement {
  const element = document.createElement("div");
  element.className = "pointer";
  element.style.setProperty("--hue", String(hue(id)));
  const arrow = document.createElementNS(svg, "svg");
  arrow.setAttribute("viewBox", "0 0 16 16");
  const path = document.createElementNS(svg, "path");
  path.setAttribute("d", "M2 1.5l4 12 2-5 5-2z");
  arrow.append(path);
  const tag = document.createElement("span");
  tag.textContent = name || "Somebody";
  const body = document.createElement("div");
  body.append(arrow, tag);
  element.append(body);
  return element;
}
