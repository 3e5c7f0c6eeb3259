import type { HoldfastError } from "@holdfast/client";
import { useHttpClient } from "@holdfast/client/react";
import { useState } from "react";
import type { Board, List } from "../types.js";
import { Button, Dialog, Field, Problem } from "../ui/index.js";
import { clip, titleBytes } from "./clip.js";
import type { BoardSync } from "./sync.js";

interface Props {
  board: Board;
  onClose: () => void;
  onDone?: () => void;
}

/** One call at a time, and why it failed. */
export function useCall(done: () => void) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const run = (call: () => Promise<unknown>) => {
    if (busy) return;
    setBusy(true);
    setProblem("");
    call().then(done, (error: HoldfastError) =>
      setProblem(error.code === "NETWORK" || error.code === "TIMEOUT" ? "The server does not answer. Please try again." : `${error.message}.`),
    ).finally(() => setBusy(false));
  };
  return { busy, problem, run };
}

export function RenameBoard({ board, onClose, onDone = onClose }: Props) {
  const http = useHttpClient();
  const [title, setTitle] = useState(board.title);
  const { busy, problem, run } = useCall(() => (onDone(), onClose()));
  return (
    <Dialog title="Rename the board" onClose={onClose}>
      <form
        className="card-form"
        onSubmit={(event) => {
          event.preventDefault();
          if (title.trim()) run(() => http.patch(`/api/boards/${board.id}`, { title: title.trim() }));
        }}
      >
        <Field label="Name" data-first="" required value={title} onChange={(event) => setTitle(clip(event.target.value, titleBytes))} />
        <Problem>{problem}</Problem>
        <div className="card-form-foot">
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" type="submit" busy={busy} disabled={!title.trim()}>
            Rename
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

export function DeleteBoard({ board, onClose, onDone = onClose }: Props) {
  const http = useHttpClient();
  const { busy, problem, run } = useCall(onDone);
  return (
    <Dialog title={`Delete “${board.title}”?`} onClose={onClose}>
      <p>All its lists and cards go with it, for everybody who is on it. There is no way back.</p>
      <Problem>{problem}</Problem>
      <div className="card-form-foot">
        <Button data-first="" onClick={onClose}>
          Cancel
        </Button>
        <Button kind="danger" busy={busy} onClick={() => run(() => http.delete(`/api/boards/${board.id}`))}>
          Delete it
        </Button>
      </div>
    </Dialog>
  );
}

/** Asks before a list goes that is too long to be brought back. */
export function DeleteList({ list, sync, onClose }: { list: List; sync: BoardSync; onClose: () => void }) {
  return (
    <Dialog title={`Delete “${list.title}”?`} onClose={onClose}>
      <p>Its {sync.cards(list.id).length} cards go with it, for everybody. There is no way back.</p>
      <div className="card-form-foot">
        <Button data-first="" onClick={onClose}>
          Cancel
        </Button>
        <Button
          kind="danger"
          onClick={() => {
            sync.removeList(list);
            onClose();
          }}
        >
          Delete it
        </Button>
      </div>
    </Dialog>
  );
}
