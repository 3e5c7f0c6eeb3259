import { useRoomEvent } from "@holdfast/client/react";
import { useCallback, useState } from "react";
import type { BoardState, Change, Member } from "../types.js";

type Kept = { from: BoardState; list: Member[]; rev: number };

const order = { owner: 0, editor: 1, viewer: 2 };

/** A board's members, owner first, as the room and the answers to one's own calls tell of them. */
export function useMembers(state: BoardState): { list: Member[]; take: (member: Member, removed?: boolean) => void } {
  const [kept, set] = useState<Kept>({ from: state, list: state.members, rev: state.board.rev });
  // Whoever holds the board may have read it anew.
  if (kept.from !== state) set({ from: state, list: state.members, rev: state.board.rev });

  const take = useCallback(({ rev, member }: Change, removed = false) => {
    set((now) => {
      // An answer comes after its event or before it: each change counts once, and none goes back.
      if (!member || rev <= now.rev) return now;
      return { ...now, rev, list: withMember(now.list, member, removed) };
    });
  }, []);
  useRoomEvent(state.board.room, "member_added", (change) => take(change));
  useRoomEvent(state.board.room, "member_updated", (change) => take(change));
  useRoomEvent(state.board.room, "member_removed", (change) => take(change, true));

  // Answers leave the room's order alone: the event of the same change is on its way.
  const answered = useCallback((member: Member, removed = false) => set((now) => ({ ...now, list: withMember(now.list, member, removed) })), []);
  return { list: [...kept.list].sort((a, b) => order[a.role] - order[b.role] || a.name.localeCompare(b.name)), take: answered };
}

/** Events don't carry addresses, which the owner may have read before. */
function withMember(list: Member[], member: Member, removed: boolean): Member[] {
  const email = list.find(({ id }) => id === member.id)?.email;
  const others = list.filter(({ id }) => id !== member.id);
  if (removed) return others;
  return [...others, { ...(email && { email }), ...member }];
}
