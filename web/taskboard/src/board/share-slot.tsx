import type { BoardState } from "../types.js";
import { Avatar, Dialog } from "../ui/index.js";

/** Who is on the board. */
export function Share({ state, onClose }: { state: BoardState; onClose: () => void }) {
  return (
    <Dialog title="Members" onClose={onClose}>
      <ul className="members">
        {state.members.map(({ id, name, role }) => (
          <li key={id}>
            <Avatar id={id} name={name} /> {name} <span className="badge">{role}</span>
          </li>
        ))}
      </ul>
    </Dialog>
  );
}
