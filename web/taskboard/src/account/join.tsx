import { useHttpClient } from "@holdfast/client/react";
import { useEffect, useState } from "react";
import { go, href } from "../router.js";
import type { Board } from "../types.js";
import { Button } from "../ui/index.js";
import { troubleOf, type Trouble } from "./trouble.js";

const words = {
  NOT_FOUND: "This link does not lead to a board any more. Ask whoever gave it to you for a new one.",
  INVALID_ARGUMENT: "This link is not whole. Copy all of it, and try again.",
};

/** Takes a link's invitation, and goes to its board. */
export function Join({ token }: { token: string }) {
  const http = useHttpClient();
  const [trouble, setTrouble] = useState<Trouble>();
  const [tries, setTries] = useState(0);
  useEffect(() => {
    const abort = new AbortController();
    http
      .post<Board>("/api/links", { token }, { signal: abort.signal })
      // There is no way back to here: the link has done what it can.
      .then(({ id }) => go({ at: "board", board: id }, true))
      .catch((error) => abort.signal.aborted || setTrouble(troubleOf(error, words)));
    return () => abort.abort();
  }, [http, token, tries]);
  return (
    <div className="account-page account-narrow">
      <h1>{trouble ? "The board could not be opened" : "Opening the board…"}</h1>
      <div role="status">{trouble ? <p className="problem">{trouble.text}</p> : <p className="soft-text">You are being made a member of it.</p>}</div>
      {trouble && (
        <p className="line-up">
          <Button kind="primary" onClick={() => (setTrouble(undefined), setTries(tries + 1))}>
            Try again
          </Button>
          <a href={href({ at: "boards" })}>To your boards</a>
        </p>
      )}
    </div>
  );
}
