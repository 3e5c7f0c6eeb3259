import { useAuth, useHttpClient } from "@holdfast/client/react";
import { useEffect, useId, useRef, useState } from "react";
import type { Board } from "../types.js";
import { Button } from "../ui/index.js";
import { commands, type Command } from "./commands.js";

/** How to use the same board from a terminal. */
export function Terminal() {
  const { user } = useAuth();
  const http = useHttpClient();
  const [boards, setBoards] = useState<Board[]>();
  const [chosen, choose] = useState<string>();
  const select = useId();
  useEffect(() => {
    const stop = new AbortController();
    http.get<{ boards: Board[] }>("/api/boards", { signal: stop.signal }).then(
      (answer) => setBoards(answer.boards),
      () => stop.signal.aborted || setBoards([]), // offline: the commands are right without
    );
    return () => stop.abort();
  }, [http]);
  const board = boards?.find(({ id }) => id === chosen) ?? boards?.[0];
  const [token, ...others] = commands({ url: location.origin, email: user?.email ?? "you@example.com", password: "your password" });
  return (
    <article className="terminal">
      <header>
        <h1>Use it from a terminal</h1>
        <p className="hint">
          The page is one client among others. All of them get the same events, in the same order. The commands with <code>go run</code>{" "}
          are for the project's folder.
        </p>
      </header>
      <div className="terminal-board">
        <label htmlFor={select}>Board</label>
        <select id={select} value={board?.id ?? ""} onChange={(event) => choose(event.target.value)} disabled={!boards?.length}>
          {boards?.length ? null : <option value="">{boards ? "You have no board yet" : "Loading…"}</option>}
          {boards?.map(({ id, title }) => (
            <option key={id} value={id}>
              {title}
            </option>
          ))}
        </select>
      </div>
      <Step command={token} />
      <Step
        command={{
          title: "The board",
          says: "Its id. Its room, in which its events are told, is board- and this id.",
          text: `BOARD=${board?.id ?? ""}`,
        }}
      />
      {others.map((command) => (
        <Step key={command.title} command={command} />
      ))}
      <p className="hint">
        All calls and events are in <code>examples/taskboard/README.md</code>.
      </p>
    </article>
  );
}

function Step({ command: { title, says, text } }: { command: Command }) {
  const code = useRef<HTMLPreElement>(null);
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setCopied(true);
    } catch {
      // Not allowed, or not over HTTPS: it is marked, so that it can be copied by hand.
      getSelection()?.selectAllChildren(code.current!);
      code.current!.focus();
    }
  };
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), 2000);
    return () => clearTimeout(timer);
  }, [copied]);
  return (
    <section className="step">
      <div className="step-head">
        <h2>{title}</h2>
        <Button className="step-copy" onClick={() => void copy()} aria-label={`Copy: ${title}`}>
          {copied ? "Copied" : "Copy"}
        </Button>
      </div>
      <p className="hint">{says}</p>
      <pre ref={code} tabIndex={0} aria-label={`Command: ${title}`} role="group">
        <code>{text}</code>
      </pre>
      <span className="sr" role="status">
        {copied ? "Copied" : ""}
      </span>
    </section>
  );
}
