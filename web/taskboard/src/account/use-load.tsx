import { useCallback, useEffect, useRef, useState, type ReactNode } from "react";
import { Button } from "../ui/index.js";
import { troubleOf, type Trouble } from "./trouble.js";

/** What was read from the server. */
export interface Load<T> {
  /** Undefined until it came for the first time. */
  data: T | undefined;
  /** Why it could not be read the last time. */
  trouble: Trouble | undefined;
  /** Reads it again; what is there stays until then. */
  again: () => Promise<void>;
  set: (data: T) => void;
}

/** Reads something when it is shown, and again when the page is looked at again. `read` must stay the same. */
export function useLoad<T>(read: (signal: AbortSignal) => Promise<T>): Load<T> {
  const [data, set] = useState<T>();
  const [trouble, setTrouble] = useState<Trouble>();
  const last = useRef<AbortController>(null);
  const again = useCallback(async () => {
    last.current?.abort();
    const { signal } = (last.current = new AbortController());
    try {
      const found = await read(signal);
      if (signal.aborted) return;
      set(() => found);
      setTrouble(undefined);
    } catch (error) {
      if (!signal.aborted) setTrouble(troubleOf(error));
    }
  }, [read]);
  useEffect(() => {
    void again();
    const seen = () => document.visibilityState === "visible" && void again();
    document.addEventListener("visibilitychange", seen);
    return () => {
      document.removeEventListener("visibilitychange", seen);
      last.current?.abort();
    };
  }, [again]);
  return { data, trouble, again, set };
}

/** What was read, or a place of about its size, or what went wrong. */
export function Loaded<T>({ load, lines, children }: { load: Load<T>; lines: number; children: (data: T) => ReactNode }) {
  if (load.data !== undefined) return children(load.data);
  if (load.trouble)
    return (
      <div className="line-up" role="alert">
        <p className="problem">{load.trouble.text}</p>
        <Button onClick={() => void load.again()}>Try again</Button>
      </div>
    );
  return (
    <div className="waiting" aria-busy="true">
      <p className="sr" role="status">
        Loading…
      </p>
      {Array.from({ length: lines }, (_, at) => (
        <div key={at} className="waiting-line" />
      ))}
    </div>
  );
}
