import { useRealtimeClient } from "@holdfast/client/react";
import { useEffect, useMemo, useState, useSyncExternalStore } from "react";

/** How many edits wait to be sent. */
export function useWaiting(): number {
  const { socket } = useRealtimeClient();
  return useSyncExternalStore(
    useMemo(() => (changed: () => void) => socket.subscribeQueue(changed), [socket]),
    () => socket.queued.length,
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
