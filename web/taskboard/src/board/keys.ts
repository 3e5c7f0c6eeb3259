import type { BoardUi } from "./context.js";
import { cardsOf, columnsOf, elementOf, showLine, spotAt, type Spot, type Thing } from "./spots.js";

/** What the keys need of their board. */
export interface KeyHost {
  board: HTMLElement;
  line: HTMLElement;
  ui: () => BoardUi;
  drop: (thing: Thing, to: Spot) => void;
  move: (card: string) => void;
  help: () => void;
}

const title = (element: HTMLElement): string =>
  element.querySelector(element.dataset["card"] ? ".card-link" : "h2")?.textContent ?? "";

const focus = (card: HTMLElement | undefined) => card?.querySelector<HTMLElement>(".card-link")?.focus();

/** Lets a board be used by keys alone. What is picked up stays where it is until it is put down; a line shows where that would be. */
export function enableKeys({ board, line, ui, drop, move, help }: KeyHost): () => void {
  let carried: { thing: Thing; column: number; at: number } | undefined;

  const rest = (column: HTMLElement | undefined, thing: Thing) => (column ? cardsOf(column) : []).filter((card) => card.dataset["card"] !== thing.id);

  const spot = (): [Spot, string] => {
    const { thing, column, at } = carried!;
    if (thing.kind === "list") {
      const others = columnsOf(board).filter(({ dataset }) => dataset["list"] !== thing.id);
      return [spotAt(others, at, "list"), `position ${at + 1} of ${others.length + 1}`];
    }
    const list = columnsOf(board)[column]!;
    const others = rest(list, thing);
    return [spotAt(others, at, "card", list.dataset["list"]), `${title(list)}, position ${at + 1} of ${others.length + 1}`];
  };

  const show = (say: (where: string) => string) => {
    const [to, where] = spot();
    const { thing } = carried!;
    const near = to.before ?? to.after;
    const shown = near ? elementOf(board, { kind: thing.kind, id: near }) : elementOf(board, { kind: "list", id: to.list ?? thing.id });
    shown?.scrollIntoView({ block: "nearest", inline: "nearest" });
    showLine(line, board, thing.kind, to);
    ui().announce(say(where));
  };

  const pickUp = (thing: Thing, element: HTMLElement) => {
    const columns = columnsOf(board);
    const column = columns.indexOf(element.closest<HTMLElement>("[data-list]")!);
    carried = { thing, column, at: thing.kind === "list" ? column : cardsOf(columns[column]!).indexOf(element) };
    element.dataset["lifted"] = "";
    show((where) => `${title(element)} is picked up, ${where}. Arrow keys move it, Space puts it down, Escape takes it back.`);
  };

  const putDown = (keep: boolean) => {
    if (!carried) return;
    const { thing } = carried;
    const element = elementOf(board, thing);
    const [to, where] = spot();
    carried = undefined;
    line.hidden = true;
    delete element?.dataset["lifted"];
    if (!element) return; // somebody has deleted it meanwhile
    if (keep) drop(thing, to);
    ui().announce(keep ? `${title(element)} is put down, ${where}` : `${title(element)} is back where it was`);
  };

  // The arrows of what is carried.
  const carry = (key: string): boolean => {
    const { thing, column, at } = carried!;
    const columns = columnsOf(board);
    const by = { ArrowUp: -1, ArrowDown: 1, ArrowLeft: -1, ArrowRight: 1 }[key];
    if (!by) return false;
    const sideways = key === "ArrowLeft" || key === "ArrowRight";
    const within = (n: number, last: number) => Math.max(0, Math.min(n, last));
    if (thing.kind === "list") carried!.at = within(at + by, columns.length - 1);
    else if (sideways) {
      carried!.column = within(column + by, columns.length - 1);
      carried!.at = within(at, rest(columns[carried!.column], thing).length);
    } else carried!.at = within(at + by, rest(columns[column], thing).length);
    show((where) => where);
    return true;
  };

  // From card to card.
  const walk = (key: string, card: HTMLElement): boolean => {
    const columns = columnsOf(board);
    const column = columns.indexOf(card.closest<HTMLElement>("[data-list]")!);
    const row = cardsOf(columns[column]!);
    const at = row.indexOf(card);
    if (key === "ArrowDown" || key === "ArrowUp") focus(row[at + (key === "ArrowDown" ? 1 : -1)]);
    else if (key === "Home" || key === "End") focus(row.at(key === "Home" ? 0 : -1));
    else if (key === "ArrowLeft" || key === "ArrowRight") {
      const beside = key === "ArrowLeft" ? columns.slice(0, column).reverse() : columns.slice(column + 1);
      const cards = beside.map(cardsOf).find((cards) => cards.length);
      focus(cards?.[Math.min(at, cards.length - 1)]);
    } else return false;
    return true;
  };

  const onCard = (event: KeyboardEvent, element: HTMLElement): boolean => {
    const id = element.dataset["card"]!;
    const link = (event.target as HTMLElement).matches(".card-link");
    const { sync, edit, remove } = ui();
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key; // with Caps Lock, too
    if (walk(event.key, element)) return true;
    const card = sync.card(id);
    if (!edit || !card) return false;
    if (event.key === " " && link) pickUp({ kind: "card", id }, element);
    else if (key === "d") sync.write("card:update", { card: id, done: !card.done });
    else if (key === "m") move(id);
    else if (event.key === "Delete") remove(card);
    else return false;
    return true;
  };

  const handle = (event: KeyboardEvent): boolean => {
    const target = event.target as HTMLElement;
    if (carried) {
      if (event.key === "Escape") putDown(false);
      else if (event.key === " " || event.key === "Enter") putDown(true);
      else return carry(event.key);
      return true;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input, textarea, select, dialog, [role=menu]")) return false;
    if (event.key === "?") return help(), true;
    if (/^n$/i.test(event.key) && ui().edit) {
      ui().addTo((target.closest<HTMLElement>("[data-list]") ?? columnsOf(board)[0])?.dataset["list"]);
      return true;
    }
    const { listGrip } = target.dataset;
    if (listGrip && event.key === " ") return pickUp({ kind: "list", id: listGrip }, target.closest<HTMLElement>("[data-list]")!), true;
    const card = target.closest<HTMLElement>("[data-card]");
    return card && board.contains(card) ? onCard(event, card) : false;
  };
  const down = (event: KeyboardEvent) => {
    if (event.defaultPrevented || document.querySelector("dialog[open]") || !handle(event)) return;
    event.preventDefault();
    event.stopPropagation();
  };
  // Whoever goes elsewhere has put nothing down.
  const out = () => carried && putDown(false);

  document.addEventListener("keydown", down);
  board.addEventListener("pointerdown", out);
  board.addEventListener("focusout", out);
  return () => {
    out();
    document.removeEventListener("keydown", down);
    board.removeEventListener("pointerdown", out);
    board.removeEventListener("focusout", out);
  };
}
