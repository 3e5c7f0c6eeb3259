import type { AuthEvents } from "@holdfast/client";
import { useRealtimeClient } from "@holdfast/client/react";
import { useEffect, useState } from "react";
import { setKnown, setLockedSession } from "../settings.js";

/** Why nobody is signed in any more. `untold`: the server did not hear of the sign-out, so the session's cookie is still good. */
export interface SignOutReason {
  text: string;
  untold?: boolean;
}

/**
 * Remembers why the session ended, for the sign-in page. It has to be used
 * where it stays while one page takes the other's place.
 */
export function useSignOutReason(): SignOutReason | undefined {
  const { auth, socket } = useRealtimeClient();
  const [reason, setReason] = useState<SignOutReason>();
  useEffect(() => {
    if (!auth) return;
    let own = false; // this page has just signed out
    let who = auth.getUser()?.id;
    const offs = [
      auth.on("sign-out", (event) => {
        own = event.source === "self" && !event.error;
        setKnown();
        setLockedSession(undefined);
        setReason(withEdits(reasonOf(event), socket.queued.filter(({ user }) => user === who).length));
      }),
      auth.on("sign-in", ({ user }) => {
        setKnown();
        who = user?.id;
        own = false;
        setReason(undefined);
      }),
      auth.on("error", () => {
        if (own) setReason((before) => ({ text: `You are signed out in this tab, but the server could not be told.${before ? ` ${before.text}` : ""}`, untold: true }));
      }),
    ];
    return () => offs.forEach((off) => off());
  }, [auth, socket]);
  return reason;
}

function reasonOf({ error, source }: AuthEvents["sign-out"]): SignOutReason | undefined {
  switch (error?.code) {
    case "SESSION_REVOKED":
      return { text: "This session was ended from another device." };
    case "REFRESH_REUSED":
      return { text: "This session was ended, since somebody else may have had its key. If that was not you, change your password." };
    case undefined:
      return source === "remote" ? { text: "Signed out, as in this browser’s other tab." } : undefined;
    default:
      return { text: "Your session has ended. Sign in again to go on." };
  }
}

// Nobody else sees or sends what one has left in this browser's queue.
function withEdits(reason: SignOutReason | undefined, edits: number): SignOutReason | undefined {
  if (!edits) return reason;
  const [some, they] = edits === 1 ? ["One of your edits was", "It is"] : [`${edits} of your edits were`, "They are"];
  return { text: `${reason ? `${reason.text} ` : ""}${some} not sent yet. ${they} kept in this browser until you sign in here again.` };
}
