import { useAuth, useConnectionState, usePresence } from "@holdfast/client/react";
import { Avatar } from "../ui/index.js";
import { useMedia } from "./hooks.js";
import { Popover } from "./popover.js";
import { count } from "./words.js";

/** Who is in a board's room. */
export function People({ room }: { room: string }) {
  const present = usePresence(room);
  const { connected } = useConnectionState();
  const { user } = useAuth();
  const wide = useMedia("(min-width: 40rem)");
  const most = wide ? 5 : 3;
  // The others first: who is signed in is known.
  const all = [...present].sort((a, b) => Number(a.id === user?.id) - Number(b.id === user?.id) || (a.id < b.id ? -1 : 1));
  const shown = all.length > most ? all.slice(0, most - 1) : all;
  const says = connected ? `${count(all.length, "person is", "people are")} here` : `${count(all.length, "person was", "people were")} here`;
  return (
    <div className={connected ? "people" : "people stale"}>
      {all.length > 0 && (
        <Popover
          label="People here"
          name={`${says}. Who?`}
          button={
            <span className="people-row">
              {shown.map(({ id, name }) => (
                <Avatar key={id} id={id} name={name} />
              ))}
              {all.length > shown.length && <span className="people-more">+{all.length - shown.length}</span>}
            </span>
          }
        >
          {() => (
            <>
              <p className="people-count">{says}</p>
              <ul className="people-list" tabIndex={0} aria-label="People">
                {all.map(({ id, name }) => (
                  <li key={id}>
                    <Avatar id={id} name={name} />
                    <span>{name || "Somebody"}</span>
                    {id === user?.id && <span className="hint">you</span>}
                  </li>
                ))}
              </ul>
            </>
          )}
        </Popover>
      )}
    </div>
  );
}
