import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { flushSync } from "react-dom";
import { People, Pointers, TypingLine } from "../live/index.js";
import { go } from "../router.js";
import type { Card, List } from "../types.js";
import { Icon } from "../ui/index.js";
import { AddLine } from "./add.js";
import { DeleteList } from "./board-dialogs.js";
import { BoardHead } from "./board-head.js";
import { CardDialog } from "./card-dialog.js";
import { ColumnView } from "./column.js";
import { BoardContext, type BoardUi, type ToastText } from "./context.js";
import { enableDrag } from "./drag.js";
import { Help } from "./help.js";
import { newId } from "./ids.js";
import { enableKeys } from "./keys.js";
import { PopMenu, type Choice } from "./menu.js";
import { cardChoices, listChoices } from "./choices.js";
import type { Notice } from "./model.js";
import { MoveDialog } from "./move-dialog.js";
import { elementOf, type Spot, type Thing } from "./spots.js";
import type { BoardSync } from "./sync.js";
import { Toasts } from "./toasts.js";
import { useFocusKept } from "./use-focus.js";
import type { Shown } from "./view.js";

// What is taken back is made anew, card by card, through a queue that has an end.
const undoable = 50;

interface Menu {
  anchor: HTMLElement;
  label: string;
  choices: Choice[];
}

/** A board that is there: its head, lists and cards, and whatever is open over them. */
export function BoardView({ sync, shown, notices, open }: { sync: BoardSync; shown: Shown; notices: readonly Notice[]; open: string | undefined }) {
  const { board, columns, pending, conflicts, touched } = shown;
  const edit = board.role !== "viewer";
  const area = useRef<HTMLDivElement>(null);
  const line = useRef<HTMLDivElement>(null);
  const said = useRef<HTMLParagraphElement>(null);
  const [menu, setMenu] = useState<Menu>();
  const [moving, setMoving] = useState<string>();
  const [help, setHelp] = useState(false);
  const [adding, addTo] = useState<string>();
  const [renaming, rename] = useState<string>();
  const [addingList, setAddingList] = useState(false);
  const [active, setActive] = useState<string>();
  const [ending, setEnding] = useState<List>();
  const [toast, setToast] = useState<ToastText>();
  const closeMenu = useCallback(() => setMenu(undefined), []);
  const endToast = useCallback(() => setToast(undefined), []);

  const ui = useMemo<BoardUi>(() => {
    // The button that was pressed is gone then: the focus goes to what has come back.
    const back = (undo: () => void, thing: Thing) => () => {
      flushSync(undo);
      elementOf(area.current!, thing)?.querySelector<HTMLElement>(".card-link, [aria-haspopup=menu]")?.focus();
    };
    const ui: BoardUi = {
      sync, edit, addTo, rename, toast: setToast,
      // What is said twice is heard twice only if it is not the same text.
      announce: (text) => void (said.current!.textContent = said.current!.textContent === text ? `${text}.` : text),
      cardMenu: (card: Card, anchor) => setMenu({ anchor, label: `More for ${card.title}`, choices: cardChoices(ui, card, setMoving) }),
      listMenu: (list: List, anchor) => setMenu({ anchor, label: `More for the list ${list.title}`, choices: listChoices(ui, list) }),
      remove(card) {
        const undo = sync.remove(card);
        setToast({ text: `“${card.title}” was deleted`, undo: back(undo, { kind: "card", id: card.id }) });
      },
      removeList(list) {
        if (sync.cards(list.id).length > undoable) return setEnding(list);
        setToast({ text: `“${list.title}” was deleted`, undo: back(sync.removeList(list), { kind: "list", id: list.id }) });
      },
    };
    return ui;
  }, [sync, edit]);

  // Who may only look now has nothing open to change it with.
  useEffect(() => {
    if (edit) return;
    setMenu(undefined);
    for (const end of [setMoving, addTo, rename]) end(undefined);
    setEnding(undefined);
    setAddingList(false);
  }, [edit]);

  const now = useRef(ui);
  now.current = ui;
  useEffect(() => {
    const drop = (thing: Thing, to: Spot) => sync.move(thing, to);
    const host = { board: area.current!, line: line.current!, drop };
    const offDrag = edit ? enableDrag(host) : () => {};
    const offKeys = enableKeys({ ...host, ui: () => now.current, move: setMoving, help: () => setHelp(true) });
    return () => (offDrag(), offKeys());
  }, [sync, edit]);
  useFocusKept(area, shown);
  useTitle(board.title);

  // A card that was opened from the board is left by the way back, so that this doesn't lead to it again.
  const from = useRef(false);
  if (!open) from.current = true;
  const closeCard = useCallback(() => (from.current ? history.back() : go({ at: "board", board: board.id }, true)), [board.id]);
  const opened = open ? columns.flatMap(({ cards, list }) => cards.filter(({ id }) => id === open).map((card) => ({ card, list })))[0] : undefined;
  useEffect(() => {
    if (open && !opened) go({ at: "board", board: board.id }, true); // it was deleted
  }, [open, opened, board.id]);
  const moved = moving ? columns.flatMap(({ cards }) => cards).find(({ id }) => id === moving) : undefined;

  return (
    <BoardContext value={ui}>
      <div className="board-page">
        <BoardHead board={board} people={<People room={board.room} />} onHelp={() => setHelp(true)} />
        <TypingLine room={board.room} />
        <div className="board-frame">
          <div
            className="board"
            ref={area}
            onFocus={({ target }) => setActive((target as HTMLElement).closest<HTMLElement>("[data-card]")?.dataset["card"] ?? active)}
          >
            {columns.map((column) => (
              <ColumnView
                key={column.list.id}
                column={column}
                pending={pending}
                conflicts={conflicts}
                touched={touched}
                active={column.cards.some(({ id }) => id === active) ? active : undefined}
                adding={adding === column.list.id}
                renaming={renaming === column.list.id}
              />
            ))}
            {edit && (
              <div className="column new">
                {addingList ? (
                  <AddLine
                    label="New list"
                    onAdd={(title) => {
                      sync.write("list:create", { list: newId(), title, after: columns.at(-1)?.list.id });
                      ui.announce(`The list ${title} was added`);
                    }}
                    onClose={() => setAddingList(false)}
                  />
                ) : (
                  <button type="button" className="add" onClick={() => setAddingList(true)}>
                    <Icon name="plus" /> Add a list
                  </button>
                )}
              </div>
            )}
            {!edit && !columns.length && <p className="hint board-empty">There is nothing on this board yet.</p>}
          </div>
          <Pointers room={board.room} area={area} />
        </div>
        <div className="drop-line" ref={line} hidden />
        <p className="sr" id="board-keys" hidden>
          Space picks it up, arrow keys move it. Question mark: all keys.
        </p>
        <p className="sr" ref={said} role="status" aria-live="assertive" />
        {menu && <PopMenu {...menu} onClose={closeMenu} />}
        {opened && (
          <CardDialog key={opened.card.id} card={opened.card} list={opened.list.title} conflict={conflicts.get(opened.card.id)} onClose={closeCard} />
        )}
        {moved && <MoveDialog card={moved} columns={columns} onClose={() => setMoving(undefined)} />}
        {ending && <DeleteList list={ending} sync={sync} onClose={() => setEnding(undefined)} />}
        {help && <Help onClose={() => setHelp(false)} />}
        <Toasts toast={toast} notices={notices} onEnd={endToast} onRead={sync.dismiss} />
      </div>
    </BoardContext>
  );
}

function useTitle(title: string): void {
  useEffect(() => {
    document.title = `${title} – Task board`;
    return () => void (document.title = "Task board");
  }, [title]);
}
