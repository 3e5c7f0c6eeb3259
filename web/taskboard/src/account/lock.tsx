import { useAuth } from "@holdfast/client/react";
import { Activity, useState, type ReactNode } from "react";
import { idleMinutes } from "../settings.js";
import { LockPanel } from "./lock-panel.js";
import { useLock } from "./use-lock.js";

/** Covers the page when nobody has been active for the time of `settings.ts`; the user's password or passkey takes it away. */
export function Lock({ children }: { children: ReactNode }) {
  const { user } = useAuth();
  const { locked, unlock } = useLock();
  const [minutes] = useState(idleMinutes); // as when the client was made
  return (
    <>
      {locked && user && <LockPanel user={user} minutes={minutes} onUnlock={unlock} />}
      {/* Hidden, it is neither seen nor heard nor reached, and its effects have ended; but what was typed is kept. */}
      <Activity mode={locked ? "hidden" : "visible"}>{children}</Activity>
    </>
  );
}
