import { useEffect, useRef, useState } from "react";
import { Problem } from "../ui/index.js";
import { troubleOf, type Trouble } from "./trouble.js";

/** A call that a button makes: whether it is under way, and what went wrong. */
export interface Call<A extends unknown[]> {
  run: (...args: A) => Promise<void>;
  busy: boolean;
  trouble: Trouble | undefined;
  /** Seconds until another try makes sense. */
  wait: number;
  clear: () => void;
}

/** Wraps a call. One runs at a time; `own` are words for some codes. */
export function useCall<A extends unknown[]>(work: (...args: A) => Promise<void>, own?: Parameters<typeof troubleOf>[1]): Call<A> {
  const [busy, setBusy] = useState(false);
  const [trouble, setTrouble] = useState<Trouble>();
  const running = useRef(false);
  const wait = useSeconds(trouble?.until);
  return {
    busy,
    // When the time has come the trouble is over.
    trouble: trouble?.until && wait === 0 ? undefined : trouble,
    wait,
    clear: () => setTrouble(undefined),
    async run(...args) {
      if (running.current) return;
      running.current = true;
      setBusy(true);
      setTrouble(undefined);
      try {
        await work(...args);
      } catch (error) {
        setTrouble(troubleOf(error, own));
      } finally {
        running.current = false;
        setBusy(false);
      }
    },
  };
}

/** Counts down to a moment. */
function useSeconds(until: number | undefined): number {
  const [now, setNow] = useState(0);
  useEffect(() => {
    if (!until) return;
    const tick = () => setNow(Date.now());
    tick();
    const timer = setInterval(tick, 500);
    return () => clearInterval(timer);
  }, [until]);
  if (!until) return 0;
  return Math.max(0, Math.ceil((until - Math.max(now, Date.now())) / 1000));
}

/** What went wrong with a call. Seconds are seen counting down, and heard once. */
export function CallProblem({ call: { trouble, wait }, children }: { call: Pick<Call<never>, "trouble" | "wait">; children?: React.ReactNode }) {
  const first = useRef(0);
  if (!trouble?.until) first.current = 0;
  else first.current ||= wait;
  return (
    <Problem>
      {trouble && (
        <>
          {trouble.text}
          {trouble.until && (
            <>
              <span className="sr"> You can try again in {first.current} seconds.</span>
              <span aria-hidden="true"> You can try again in {duration(wait)}.</span>
            </>
          )}
          {children}
        </>
      )}
    </Problem>
  );
}

/** Seconds in words, as short as possible. */
export const duration = (seconds: number): string =>
  seconds < 90 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
