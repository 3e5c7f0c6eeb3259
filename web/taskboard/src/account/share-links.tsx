import { useHttpClient } from "@holdfast/client/react";
import { useRef, useState } from "react";
import { href } from "../router.js";
import type { Link, Role } from "../types.js";
import { Button } from "../ui/index.js";
import { CallProblem, useCall } from "./use-call.js";
import { when } from "./when.js";

const what: [Role, string, string][] = [
  ["editor", "Link to edit", "Whoever opens it can change the board."],
  ["viewer", "Link to view", "Whoever opens it can look, and no more."],
];

/** The address that takes a link's token. The fragment is sent to no server, and stands in no log. */
const address = (token: string) => location.origin + location.pathname + href({ at: "join", token });

/** The links of a board, one for each role. Only their maker sees them, and only once. */
export function Links({ board, links }: { board: string; links: Link[] }) {
  const http = useHttpClient();
  const [all, setAll] = useState(links);
  const [said, say] = useState("");
  const path = `/api/boards/${encodeURIComponent(board)}/links`;
  const without = (role: Role) => all.filter((link) => link.role !== role);

  const make = useCall(async (role: Role) => {
    const link = await http.post<Link>(path, { role });
    setAll([...without(role), link]);
    say("The link is made.");
  });
  const end = useCall(async (role: Role) => {
    await http.delete(`${path}/${role}`);
    setAll(without(role));
    say("The link is ended. Whoever came by it is on the board no more.");
  });

  return (
    <section className="share-part" aria-labelledby="share-links">
      <h3 id="share-links">Links</h3>
      <ul className="rows inner" aria-labelledby="share-links">
        {what.map(([role, name, text]) => (
          <OneLink
            key={role}
            name={name}
            text={text}
            link={all.find((link) => link.role === role)}
            busy={make.busy || end.busy}
            onMake={() => void make.run(role)}
            onEnd={() => void end.run(role)}
            onSaid={say}
          />
        ))}
      </ul>
      <CallProblem call={make} />
      <CallProblem call={end} />
      <p role="status" className="soft-text">
        {said}
      </p>
    </section>
  );
}

function OneLink({
  name,
  text,
  link,
  busy,
  onMake,
  onEnd,
  onSaid,
}: {
  name: string;
  text: string;
  link: Link | undefined;
  busy: boolean;
  onMake: () => void;
  onEnd: () => void;
  onSaid: (text: string) => void;
}) {
  const input = useRef<HTMLInputElement>(null);
  const copy = () =>
    navigator.clipboard.writeText(address(link!.token!)).then(
      () => onSaid("Copied."),
      () => {
        input.current?.select();
        onSaid("It could not be copied. It is selected: copy it by hand.");
      },
    );
  return (
    <li className="rows-row share-link">
      <div className="rows-text">
        <p>{name}</p>
        <p className="rows-more">
          {!link
            ? text
            : link.token
              ? `${text} Copy it now: it is shown this once.`
              : `Made ${when(link.created)}. It can’t be shown again, but made anew; the old one ends then.`}
        </p>
        {link?.token && (
          <div className="share-token">
            <input ref={input} className="select" readOnly aria-label={name} value={address(link.token)} onFocus={({ target }) => target.select()} />
            <Button onClick={() => void copy()} aria-label={`Copy the ${name.toLowerCase()}`}>
              Copy
            </Button>
          </div>
        )}
      </div>
      <div className="share-do">
        <Button busy={busy} aria-label={`${link ? "Make anew" : "Make"}: ${name.toLowerCase()}`} onClick={onMake}>
          {link ? "Make anew" : "Make"}
        </Button>
        {link && (
          <Button kind="quiet" busy={busy} aria-label={`End: ${name.toLowerCase()}`} onClick={onEnd}>
            End
          </Button>
        )}
      </div>
    </li>
  );
}
