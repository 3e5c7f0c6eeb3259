import { useRealtimeClient } from "@holdfast/client/react";
import { useEffect, useMemo, useState, useSyncExternalStore } from "react";

/** How many edits of the user wait to be sent. The queue is all users' of this browser. */
export function useWaiting(): number {
  const { auth, socket } = useRealtimeClient();
  return useSyncExternalStore(
    useMemo(() => (changed: () => void) => socket.subscribeQueue(changed), [socket]),
    () => socket.queued.filter(({ user }) => user === auth?.getUser()?.id).length,
  );
}

/** The time, each second while `runs`. */
export function useNow(runs: boolean): number {
  const [now, set] = useState(Date.now);
  useEffect(() => {
    if (!runs) return;
    set(Date.now());
    const timer = setInterval(() => set(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [runs]);
  return now;
}

/** Whether a media query holds. */
export function useMedia(query: string): boolean {
  const list = useMemo(() => matchMedia(query), [query]);
  return useSyncExternalStore(
    useMemo(
      () => (changed: () => void) => {
        list.addEventListener("change", changed);
        return () => list.removeEventListener("change", changed);
      },
      [list],
    ),
    () => list.matches,
  );
}
