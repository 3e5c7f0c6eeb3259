import type { HttpClient } from "@holdfast/client";
import { useHttpClient } from "@holdfast/client/react";
import { useCallback, useRef, useState } from "react";
import { Button } from "../ui/index.js";
import { agentName, isHandheld } from "./agent.js";
import type { Session } from "./calls.js";
import { isNotFound } from "./trouble.js";
import { CallProblem, useCall } from "./use-call.js";
import { Loaded, useLoad } from "./use-load.js";
import { when } from "./when.js";

/** The user's sessions on all devices; ending one ends its connections at once. */
export function Devices() {
  const http = useHttpClient();
  const load = useLoad(useCallback(async (signal) => (await http.get<{ sessions: Session[] }>("/api/auth/sessions", { signal })).sessions, [http]));
  const [said, say] = useState("");
  const head = useRef<HTMLHeadingElement>(null);
  const others = load.data?.filter(({ current }) => !current) ?? [];

  const end = useCall(async (which: Session[]) => {
    say("");
    try {
      for (const session of which) await endSession(http, session);
      say(which.length === 1 ? `${agentName(which[0]!.userAgent)} is signed out.` : `${which.length} sessions are ended.`);
    } finally {
      await load.again();
    }
    head.current?.focus(); // its button is gone
  });

  return (
    <div className="account-page">
      <div className="account-head">
        <h1 ref={head} tabIndex={-1}>
          Devices
        </h1>
        <p className="soft-text">Wherever you are signed in. Who is ended here is out at once: open pages leave, and their connections close.</p>
      </div>
      <Loaded load={load} lines={2}>
        {(sessions) => (
          <ul className="rows" aria-label="Sessions">
            {sessions.map((session) => (
              <Device key={session.id} session={session} busy={end.busy} onEnd={() => void end.run([session])} />
            ))}
          </ul>
        )}
      </Loaded>
      <CallProblem call={end} />
      <div className="line-up">
        {others.length > 1 && (
          <Button kind="danger" busy={end.busy} onClick={() => void end.run(others)}>
            End all others
          </Button>
        )}
        <p role="status" className="soft-text">
          {said || (load.data && !others.length ? "You are signed in nowhere else." : "")}
        </p>
      </div>
    </div>
  );
}

/** Ends a session. That it has ended meanwhile is what was wanted. */
const endSession = (http: HttpClient, { id }: Session) =>
  http.delete(`/api/auth/sessions/${encodeURIComponent(id)}`).catch((error) => {
    if (!isNotFound(error)) throw error;
  });

function Device({ session, busy, onEnd }: { session: Session; busy: boolean; onEnd: () => void }) {
  const { userAgent, addr, createdAt, lastUsedAt, current } = session;
  const name = agentName(userAgent);
  return (
    <li className="rows-row">
      <Shape handheld={isHandheld(userAgent)} />
      <div className="rows-text">
        <p>
          <strong>{name}</strong>
          {current && <span className="tag">This device</span>}
        </p>
        <p className="rows-more">
          {current ? "In use now" : `Last used ${when(lastUsedAt)}`}
          {addr && ` · ${addr}`} · signed in {when(createdAt)}
        </p>
      </div>
      {!current && (
        <Button aria-label={`End ${name}, signed in ${when(createdAt)}`} busy={busy} onClick={onEnd}>
          End
        </Button>
      )}
    </li>
  );
}

/** A telephone or a screen, drawn. */
function Shape({ handheld }: { handheld: boolean }) {
  return (
    <svg className="icon rows-sign" viewBox="0 0 16 16" width="24" height="24" aria-hidden="true">
      <path d={handheld ? "M5 1.8h6v12.4H5zM7.3 12h1.4" : "M1.8 2.8h12.4v8H1.8zM5.5 13.5h5"} />
    </svg>
  );
}
