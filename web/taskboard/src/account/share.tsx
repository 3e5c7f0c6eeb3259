import { useAuth } from "@holdfast/client/react";
import type { BoardState } from "../types.js";
import { Dialog } from "../ui/index.js";
import { Invite } from "./share-invite.js";
import { Links } from "./share-links.js";
import { Members } from "./share-members.js";
import { useMembers } from "./use-members.js";

/** Who is on a board, and for its owner: who may do what, and how others get there. It follows the board while it is open. */
export function Share({ state, onClose }: { state: BoardState; onClose: () => void }) {
  const { user } = useAuth();
  const { board } = state;
  const owner = board.role === "owner";
  const members = useMembers(state);
  return (
    <Dialog title={owner ? "Share this board" : "Members"} onClose={onClose}>
      <div className="share">
        {owner && (
          <p className="soft-text">
            What you change here works at once: open pages follow, and whoever is removed leaves the board that moment.
          </p>
        )}
        <Members board={board} members={members.list} me={user?.id} onChange={members.take} onLeft={onClose} />
        {owner && <Invite board={board.id} onChange={members.take} />}
        {owner && <Links board={board.id} links={state.links ?? []} />}
      </div>
    </Dialog>
  );
}
