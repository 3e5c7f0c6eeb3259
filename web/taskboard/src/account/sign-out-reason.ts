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
  const { auth } = useRealtimeClient();
  const [reason, setReason] = useState<SignOutReason>();
  useEffect(() => {
    if (!auth) return;
    let own = false; // this page has just signed out
    const offs = [
      auth.on("sign-out", (event) => {
        own = event.source === "self" && !event.error;
        setKnown();
        setLockedSession(undefined);
        setReason(reasonOf(event));
      }),
      auth.on("sign-in", () => {
        setKnown();
        own = false;
        setReason(undefined);
      }),
      auth.on("error", () => {
        if (own) setReason({ text: "You are signed out in this tab, but the server could not be told.", untold: true });
      }),
    ];
    return () => offs.forEach((off) => off());
  }, [auth]);
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
