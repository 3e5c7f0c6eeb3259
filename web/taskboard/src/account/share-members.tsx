import { useHttpClient } from "@holdfast/client/react";
import { useRef, useState } from "react";
import { go } from "../router.js";
import type { Board, Change, Member, Role } from "../types.js";
import { Avatar, Button } from "../ui/index.js";
import { isNotFound } from "./trouble.js";
import { CallProblem, useCall } from "./use-call.js";

const path = (board: string, user: string) => `/api/boards/${encodeURIComponent(board)}/members/${encodeURIComponent(user)}`;

export const roleNames: Record<Role, string> = { owner: "Owner", editor: "Editor", viewer: "Viewer" };

/** The members of a board. The owner changes roles and removes; others leave. */
export function Members({
  board,
  members,
  me,
  onChange,
  onLeft,
}: {
  board: Board;
  members: Member[];
  me: string | undefined;
  onChange: (member: Member, removed?: boolean) => void;
  onLeft: () => void;
}) {
  const http = useHttpClient();
  const owner = board.role === "owner";
  const [said, say] = useState("");
  const head = useRef<HTMLHeadingElement>(null);

  const setRole = useCall(async ({ id, name }: Member, role: Role) => {
    const { member } = await http.patch<Change>(path(board.id, id), { role });
    if (member) onChange(member);
    say(`${name} is ${role === "editor" ? "an editor" : "a viewer"} now.`);
  });
  const remove = useCall(async (member: Member) => {
    const { id, name } = member;
    await http.delete(path(board.id, id)).catch((error) => {
      if (!isNotFound(error)) throw error; // gone, as was wanted
    });
    if (id === me) {
      onLeft();
      go({ at: "boards" });
      return;
    }
    onChange(member, true);
    head.current?.focus(); // its button is gone
    say(`${name} is on this board no more.`);
  });

  return (
    <section className="share-part" aria-labelledby="share-members">
      <h3 id="share-members" ref={head} tabIndex={-1}>
        {members.length === 1 ? "Only you so far" : `${members.length} members`}
      </h3>
      <ul className="rows inner" aria-labelledby="share-members">
        {members.map((member) => (
          <li key={member.id} className="rows-row">
            <Avatar id={member.id} name={member.name} />
            <div className="rows-text">
              <p>
                {member.name || "Somebody"} {member.id === me && <span className="tag">You</span>}
              </p>
              {(member.email || member.link) && <p className="rows-more">{[member.email, member.link && "came by a link"].filter(Boolean).join(" · ")}</p>}
            </div>
            {owner && member.role !== "owner" ? (
              <div className="share-do">
                <select
                  className="select"
                  aria-label={`Role of ${member.name}`}
                  value={member.role}
                  onChange={({ target }) => void setRole.run(member, target.value as Role)}
                >
                  <option value="editor">Editor</option>
                  <option value="viewer">Viewer</option>
                </select>
                <Button kind="quiet" aria-label={`Remove ${member.name}`} busy={remove.busy} onClick={() => void remove.run(member)}>
                  Remove
                </Button>
              </div>
            ) : (
              <div className="share-do">
                <span className="soft-text">{roleNames[member.role]}</span>
                {member.id === me && !owner && (
                  <Button busy={remove.busy} onClick={() => void remove.run(member)}>
                    Leave
                  </Button>
                )}
              </div>
            )}
          </li>
        ))}
      </ul>
      <CallProblem call={setRole} />
      <CallProblem call={remove} />
      <p className="sr" role="status">
        {said}
      </p>
    </section>
  );
}
