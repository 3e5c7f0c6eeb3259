import { useRealtimeClient } from "@holdfast/client/react";
import { useCallback, useEffect, useState } from "react";
import { lockedSession, onOtherTab, setLockedSession } from "../settings.js";

/**
 * Whether this session is locked. It becomes so when nobody was active for the
 * client's `inactivityTimeout`, in all tabs and over a reload; while it is,
 * there is no connection.
 *
 * A lock keeps out whoever comes to an unlocked screen. It is no wall against
 * somebody with the browser's own tools: that is what ending the session is
 * for, from another device.
 */
export function useLock(): { locked: boolean; unlock: () => void } {
  const { auth, socket } = useRealtimeClient();
  const session = auth?.getSessionId();
  const [locked, setLocked] = useState(() => !!session && lockedSession() === session);

  useEffect(() => {
    if (!auth || !session) return;
    const look = () => setLocked(lockedSession() === session);
    const offs = [
      auth.on("inactivity-timeout", () => {
        setLockedSession(session);
        setLocked(true); // where the storage is blocked, for this tab alone
      }),
      onOtherTab("locked", look),
    ];
    look();
    return () => offs.forEach((off) => off());
  }, [auth, session]);

  useEffect(() => {
    if (!locked) return;
    socket.close();
    // Whatever wants a connection meanwhile doesn't get one.
    const off = socket.subscribe(() => socket.state.state !== "closed" && socket.close());
    return () => {
      off();
      socket.connect().catch(() => {}); // what becomes of it is in its state
    };
  }, [locked, socket]);

  const unlock = useCallback(() => {
    auth?.touch();
    setLockedSession(undefined);
    setLocked(false);
  }, [auth]);
  return { locked, unlock };
}
