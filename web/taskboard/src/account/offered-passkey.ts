import type { Tokens } from "@holdfast/client";
import { useHttpClient } from "@holdfast/client/react";
import { useEffect, useRef, useState } from "react";
import { passkeySignIn } from "./calls.js";
import { canOffer } from "./passkey.js";
import { isNotFound, troubleOf, type Trouble } from "./trouble.js";

// The server's challenge is good for five minutes: before that there is another one.
const fresh = 4 * 60_000;

/**
 * Lets the browser offer passkeys in the form's fields, where it can. One
 * request may wait at a time: `pause` ends it, for a button that asks itself,
 * and returns what begins it again. `possible`: the server has passkeys.
 */
export function useOfferedPasskey(wanted: boolean, onTokens: (tokens: Tokens) => void) {
  const http = useHttpClient();
  const latest = useRef(onTokens);
  const [paused, setPaused] = useState(false);
  const [possible, setPossible] = useState(true);
  const [trouble, setTrouble] = useState<Trouble>();
  useEffect(() => {
    latest.current = onTokens;
  });
  useEffect(() => {
    if (!wanted || paused) return;
    let abort = new AbortController();
    const offer = async () => {
      if (!(await canOffer())) return;
      abort.signal.throwIfAborted();
      const tokens = await passkeySignIn(http, { signal: abort.signal, quiet: true });
      latest.current(tokens);
    };
    const begin = () => {
      abort.abort();
      abort = new AbortController();
      offer().catch((error) => {
        if (isNotFound(error)) setPossible(false);
        // That it was not to be offered now is no trouble of the user, who has not asked for it.
        else if (isRefused(error)) setTrouble(troubleOf(error, { INVALID_CREDENTIALS: "This passkey belongs to no account here." }));
      });
    };
    begin();
    const again = setInterval(begin, fresh);
    return () => {
      clearInterval(again);
      abort.abort();
    };
  }, [http, wanted, paused]);
  return {
    possible,
    trouble: wanted ? trouble : undefined,
    wait: 0,
    pause: () => {
      setPaused(true);
      setTrouble(undefined);
      return () => setPaused(false);
    },
  };
}

const isRefused = (error: unknown) => troubleOf(error)?.code === "INVALID_CREDENTIALS";
