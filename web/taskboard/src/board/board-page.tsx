import { useAuth, useRealtimeClient } from "@holdfast/client/react";
import { useMemo, useSyncExternalStore } from "react";
import type { Client } from "../client.js";
import { href } from "../router.js";
import { Button } from "../ui/index.js";
import { BoardView } from "./board-view.js";
import { Skeleton } from "./skeleton.js";
import { BoardSync, type Gone } from "./sync.js";

/** One board, live. `card` is the one that is open. */
export function BoardPage({ board, card }: { board: string; card: string | undefined }) {
  const client = useRealtimeClient() as unknown as Client;
  const { user } = useAuth();
  const me = user?.id ?? "";
  const sync = useMemo(() => new BoardSync(client, board, me), [client, board, me]);
  const { shown, error, gone, notices } = useSyncExternalStore(sync.watch, sync.get);
  if (gone) return <Ended gone={gone} title={shown?.board.title} onRetry={sync.retry} />;
  if (shown) return <BoardView sync={sync} shown={shown} notices={notices} open={card} />;
  if (!error) return <Skeleton />;
  return (
    <Middle title="The board can’t be reached">
      <p>
        {error.code === "NETWORK" || error.code === "TIMEOUT"
          ? "The server does not answer. It is tried again by itself; your changes are safe in this browser."
          : `${error.message}.`}
      </p>
      <div className="middle-foot">
        <Button kind="primary" onClick={sync.retry}>
          Try again
        </Button>
        <a href={href({ at: "boards" })}>All boards</a>
      </div>
    </Middle>
  );
}

/** A board that is not there any more says so in its place. */
function Ended({ gone: { code, by, seen }, title, onRetry }: { gone: Gone; title: string | undefined; onRetry: () => void }) {
  const name = title ? `“${title}”` : "This board";
  const deleted = seen && code === "NOT_FOUND";
  return (
    <Middle title={deleted ? `${name} was deleted` : seen ? `You are not on ${name} any more` : "This board is not here"}>
      <p>
        {deleted
          ? `${by ?? "Its owner"} has deleted it, with all its cards.`
          : seen
            ? `${by ?? "Its owner"} has taken your access. It ended at once, on all your devices.`
            : "It was deleted, or you are not one of its members. Ask whoever sent you the address for an invitation."}
      </p>
      <div className="middle-foot">
        <a className="button primary" href={href({ at: "boards" })}>
          All boards
        </a>
        {!deleted && <Button onClick={onRetry}>Try again</Button>}
      </div>
    </Middle>
  );
}

function Middle({ title, children }: { title: string; children: React.ReactNode }) {
  return (
    <div className="middle" role="alert">
      <h1>{title}</h1>
      {children}
    </div>
  );
}
