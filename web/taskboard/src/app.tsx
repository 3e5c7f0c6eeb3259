import { AuthGuard, RealtimeProvider, useAuth } from "@holdfast/client/react";
import { useMemo, type ReactNode } from "react";
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

/** The same frame as the page's, so that nothing jumps when it is known who is there. */
function Waiting() {
  return (
    <div className="shell" aria-busy="true">
      <header className="bar" />
      <main className="main" />
    </div>
  );
}

function Shell() {
  const hash = useHash();
  const route = useMemo(() => parse(hash), [hash]);
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
