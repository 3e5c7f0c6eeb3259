import { memo, useState } from "react";
import { Icon } from "../ui/index.js";
import { useRecord } from "./context.js";
import { useMedia } from "./hooks.js";
import type { Happening } from "./story.js";
import { clock } from "./words.js";

const key = "taskboard:happenings";

const remembered = (): boolean | undefined => {
  try {
    const value = localStorage.getItem(key);
    return value === null ? undefined : value === "open";
  } catch {
    return undefined;
  }
};

const remember = (open: boolean) => {
  try {
    localStorage.setItem(key, open ? "open" : "folded");
  } catch {
    // It holds until the page is left.
  }
};

/** What just happened, in the client's own events: a small panel that teaches. */
export function Happenings() {
  const { story } = useRecord();
  const wide = useMedia("(min-width: 64rem)");
  const [chosen, choose] = useState(remembered);
  const open = wide ? (chosen ?? true) : chosen === true;
  const newest = story[0];
  const said = story.find((entry) => entry.said);
  const fold = () => {
    choose(!open);
    remember(!open);
  };
  return (
    <aside
      className={open ? "happenings open" : "happenings"}
      aria-labelledby="happenings-title"
      onKeyDown={(event) => event.key === "Escape" && open && !wide && fold()}
    >
      <h2 id="happenings-title">
        <button type="button" className="happenings-head" aria-expanded={open} aria-controls="happenings-list" onClick={fold}>
          <span className="happenings-title">What just happened</span>
          {!open && newest && <span className="happenings-newest">{newest.title}</span>}
          <Icon name="down" />
        </button>
      </h2>
      <div id="happenings-list" className="happenings-body" hidden={!open}>
        {open && <List story={story} />}
      </div>
      <p className="sr" role="status">
        {said?.title}
      </p>
    </aside>
  );
}

function List({ story }: { story: readonly Happening[] }) {
  return (
    <>
      {/* What scrolls can be scrolled by keys. */}
      <div className="happenings-scroll" tabIndex={0} role="group" aria-label="Events, the newest first">
        {story.length === 0 && <p className="hint">Nothing yet.</p>}
        <ol>
          {story.map((entry) => (
            <Entry key={entry.id} entry={entry} />
          ))}
        </ol>
      </div>
      <p className="happenings-try">
        <strong>Try it:</strong> open a second window, switch off the network and move a card, or end this session from another device.
      </p>
    </>
  );
}

const Entry = memo(function Entry({ entry }: { entry: Happening }) {
  return (
    <li className={`happening ${entry.tone}`}>
      <span className="dot" aria-hidden="true" />
      <div>
        <p className="happening-title">{entry.title}</p>
        <p className="happening-why">{entry.why}</p>
      </div>
      <time dateTime={new Date(entry.at).toISOString()}>{clock(entry.at)}</time>
    </li>
  );
});
