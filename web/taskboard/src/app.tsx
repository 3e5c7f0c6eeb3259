import { AuthGuard, RealtimeProvider, useAuth } from "@holdfast/client/react";
import { useEffect, useMemo, useRef, useState, type ReactNode } from "react";
import { Devices, Join, Lock, Security, SignIn, UserMenu, useSignOutReason } from "./account/index.js";
import { BoardPage, Boards } from "./board/index.js";
import { ConnectionLight, Happenings, LiveProvider, Terminal } from "./live/index.js";
import type { Client } from "./client.js";
import { href, parse, useHash, type Route } from "./router.js";

/** The whole page. */
export function App({ client }: { client: Client }) {
  return (
    <RealtimeProvider client={client}>
      <LiveProvider client={client}>
        <Gate />
      </LiveProvider>
    </RealtimeProvider>
  );
}

/** Whether somebody is signed in is asked first; then one sees the boards, or the way in. */
function Gate() {
  const { pending } = useAuth();
  const reason = useSignOutReason();
  if (pending) return <Waiting />;
  return (
    <AuthGuard fallback={<SignIn reason={reason} />}>
      <Lock>
        <Shell />
      </Lock>
    </AuthGuard>
  );
}

/** The same frame as the page's, so that nothing jumps when it is known who is there. Where that takes long it says so: the client tries again by itself. */
function Waiting() {
  const [long, setLong] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLong(true), 4000);
    return () => clearTimeout(timer);
  }, []);
  return (
    <div className="shell" aria-busy="true">
      <header className="bar">
        <span className="brand">Task board</span>
      </header>
      <main className="main">
        <div role="status">
          {long && (
            <div className="middle">
              <h1>The server does not answer yet</h1>
              <p>It is tried again by itself. You stay signed in, and what you changed before is safe in this browser.</p>
            </div>
          )}
        </div>
      </main>
    </div>
  );
}

function Shell() {
  const hash = useHash();
  const route = useMemo(() => parse(hash), [hash]);
  useArrival(route);
  return (
    <div className="shell">
      <a className="skip" href="#main" onClick={(event) => (event.preventDefault(), document.getElementById("main")?.focus())}>
        Skip to content
      </a>
      <header className="bar">
        <a className="brand" href={href({ at: "boards" })}>
          Task board
        </a>
        <div className="bar-end">
          <ConnectionLight />
          <UserMenu />
        </div>
      </header>
      <main className="main" id="main" tabIndex={-1}>
        <Place route={route} />
      </main>
      <Happenings />
    </div>
  );
}

const titles: { [at in Route["at"]]?: string } = { devices: "Devices", security: "Security", terminal: "From a terminal" };

/** Says where one has come: by the tab's title, and with the focus, where what had it is gone. */
function useArrival({ at }: Route): void {
  const before = useRef(at);
  useEffect(() => {
    if (at !== "board") document.title = titles[at] ? `${titles[at]} – Task board` : "Task board"; // a board has its own
    // A page that has just been loaded begins at its top.
    if (before.current !== at && document.activeElement === document.body) document.getElementById("main")?.focus();
    before.current = at;
  }, [at]);
}

function Place({ route }: { route: Route }): ReactNode {
  switch (route.at) {
    case "board":
      return <BoardPage key={route.board} board={route.board} card={route.card} />;
    case "join":
      return <Join token={route.token} />;
    case "devices":
      return <Devices />;
    case "security":
      return <Security />;
    case "terminal":
      return <Terminal />;
    default:
      return <Boards />;
  }
}
