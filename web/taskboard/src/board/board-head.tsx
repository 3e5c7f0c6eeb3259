import { useRealtimeClient } from "@holdfast/client/react";
import { useState, type ReactNode } from "react";
import { go, href } from "../router.js";
import type { Board, BoardState } from "../types.js";
import { Button, Icon } from "../ui/index.js";
import { DeleteBoard, RenameBoard } from "./board-dialogs.js";
import { useBoardUi } from "./context.js";
import { PopMenu } from "./menu.js";
import { Share } from "./share-slot.js";

/** The board's name, who is there, and what can be done with all of it. */
export function BoardHead({ board, people, onHelp }: { board: Board; people: ReactNode; onHelp: () => void }) {
  const { sync, edit } = useBoardUi();
  const { http } = useRealtimeClient();
  const [menu, setMenu] = useState<HTMLElement>();
  const [open, setOpen] = useState<"rename" | "delete">();
  const [shared, setShared] = useState<BoardState>();
  const owner = board.role === "owner";
  // The owner sees addresses and links there, which no event has.
  const share = () =>
    http.get<BoardState>(`/api/boards/${board.id}`).catch(() => sync.state()).then(setShared);
  return (
    <header className="board-head">
      <a className="button quiet back" href={href({ at: "boards" })} aria-label="All boards">
        <Icon name="back" />
      </a>
      <h1 dir="auto">{board.title}</h1>
      {!edit && <span className="badge">View only</span>}
      <div className="board-head-end">
        {people}
        <Button onClick={share}>
          <Icon name="people" />
          <span className="wide">{owner ? "Share" : "Members"}</span>
          <span className="narrow sr">{owner ? "Share" : "Members"}</span>
        </Button>
        <Button kind="quiet" aria-label="Keyboard help" className="wide" onClick={onHelp}>
          <Icon name="help" />
        </Button>
        {owner && (
          <Button kind="quiet" aria-haspopup="menu" aria-label="More for this board" onClick={(event) => setMenu(event.currentTarget)}>
            <Icon name="dots" />
          </Button>
        )}
      </div>
      {menu && (
        <PopMenu
          anchor={menu}
          label="More for this board"
          onClose={() => setMenu(undefined)}
          choices={[
            { label: "Rename", icon: "edit", act: () => setOpen("rename") },
            { label: "Delete", icon: "trash", danger: true, act: () => setOpen("delete") },
          ]}
        />
      )}
      {open === "rename" && <RenameBoard board={board} onClose={() => setOpen(undefined)} />}
      {open === "delete" && <DeleteBoard board={board} onDone={() => go({ at: "boards" })} onClose={() => setOpen(undefined)} />}
      {shared && <Share state={shared} onClose={() => setShared(undefined)} />}
    </header>
  );
}
