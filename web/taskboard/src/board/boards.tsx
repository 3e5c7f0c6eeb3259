import { HoldfastError } from "@holdfast/client";
import { useConnectionState, useHttpClient } from "@holdfast/client/react";
import { useCallback, useEffect, useState } from "react";
import { go, href } from "../router.js";
import type { Board } from "../types.js";
import { Button, Field, Icon, Problem } from "../ui/index.js";
import { DeleteBoard, RenameBoard, useCall } from "./board-dialogs.js";
import { clip, titleBytes } from "./clip.js";
import { newId } from "./ids.js";
import { PopMenu } from "./menu.js";

/** The user's boards, and the making of one. */
export function Boards() {
  const { boards, error, load } = useBoards();
  const [menu, setMenu] = useState<{ board: Board; anchor: HTMLElement }>();
  const [open, setOpen] = useState<{ what: "rename" | "delete"; board: Board }>();
  const close = useCallback(() => setOpen(undefined), []);
  const closeMenu = useCallback(() => setMenu(undefined), []);
  const done = () => (close(), void load());
  return (
    <div className="boards">
      <h1>Your boards</h1>
      {!boards && error && (
        <div className="boards-error">
          <Problem>The boards can’t be fetched: {error.code === "NETWORK" ? "the server does not answer" : error.message.toLowerCase()}.</Problem>
          <Button onClick={load}>Try again</Button>
        </div>
      )}
      {boards?.length === 0 ? (
        <First />
      ) : (
        <>
          {boards && <NewBoard />}
          <ul className="board-grid" aria-busy={!boards && !error}>
            {boards?.map((board) => (
              <li key={board.id} className="board-card">
                <a dir="auto" href={href({ at: "board", board: board.id })}>{board.title}</a>
                <p className="hint">
                  <span className="badge" data-role={board.role}>
                    {board.role}
                  </span>
                  {board.link && " by a link"} since {new Date(board.created).toLocaleDateString(undefined, { dateStyle: "medium" })}
                </p>
                {board.role === "owner" && (
                  <button
                    type="button"
                    className="small-button"
                    aria-haspopup="menu"
                    aria-label={`More for ${board.title}`}
                    onClick={(event) => setMenu({ board, anchor: event.currentTarget })}
                  >
                    <Icon name="dots" />
                  </button>
                )}
              </li>
            )) ?? (!error && [1, 2, 3].map((i) => <li key={i} className="board-card bone" aria-hidden="true" />))}
          </ul>
        </>
      )}
      {menu && (
        <PopMenu
          anchor={menu.anchor}
          label={`More for ${menu.board.title}`}
          onClose={closeMenu}
          choices={[
            { label: "Rename", icon: "edit", act: () => setOpen({ what: "rename", board: menu.board }) },
            { label: "Delete", icon: "trash", danger: true, act: () => setOpen({ what: "delete", board: menu.board }) },
          ]}
        />
      )}
      {open?.what === "rename" && <RenameBoard board={open.board} onClose={close} onDone={done} />}
      {open?.what === "delete" && <DeleteBoard board={open.board} onClose={close} onDone={done} />}
    </div>
  );
}

/** Nobody's list of boards has a room: it is read when it is shown, when a connection is back, and when one comes back to the page. */
function useBoards() {
  const http = useHttpClient();
  const { connected } = useConnectionState();
  const [boards, setBoards] = useState<Board[]>();
  const [error, setError] = useState<HoldfastError>();
  const load = useCallback(
    () =>
      http.get<{ boards: Board[] }>("/api/boards").then(
        ({ boards }) => (setError(undefined), setBoards(boards)),
        (error: HoldfastError) => setError(error),
      ),
    [http],
  );
  useEffect(() => {
    void load();
    addEventListener("focus", load);
    return () => removeEventListener("focus", load);
  }, [load, connected]);
  return { boards, error, load };
}

/** The first visit invites. */
function First() {
  return (
    <div className="first">
      <div className="first-picture" aria-hidden="true">
        <i />
        <i />
        <i />
      </div>
      <h2>Make your first board</h2>
      <p>Lists and cards, for you or for all whom you invite. What one changes, everybody sees at once.</p>
      <NewBoard />
    </div>
  );
}

function NewBoard() {
  const http = useHttpClient();
  const [title, setTitle] = useState("");
  const [id, setId] = useState(newId); // of the write: the button pressed twice makes one board
  const { busy, problem, run } = useCall(() => setId(newId()));
  return (
    <form
      className="new-board"
      onSubmit={(event) => {
        event.preventDefault();
        if (!title.trim()) return;
        run(async () => {
          const board = await http.post<Board>("/api/boards", { id, title: title.trim() });
          go({ at: "board", board: board.id });
        });
      }}
    >
      <Field label="New board" placeholder="What is it about?" value={title} onChange={(event) => setTitle(clip(event.target.value, titleBytes))} />
      <Button kind="primary" type="submit" busy={busy}>
        Make it
      </Button>
      <Problem>{problem}</Problem>
    </form>
  );
}
