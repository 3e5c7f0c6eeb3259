import { useEffect, useRef, useState } from "react";
import { Button } from "../ui/index.js";

/** Recovery codes, which are shown this once. */
export function RecoveryCodes({ codes, onDone }: { codes: string[]; onDone: () => void }) {
  const [said, say] = useState("");
  const head = useRef<HTMLHeadingElement>(null);
  useEffect(() => head.current?.focus(), []); // the form that was there is gone
  const text = codes.join("\n");
  const copy = () =>
    navigator.clipboard.writeText(text).then(
      () => say("Copied."),
      () => say("They could not be copied. Select them by hand."),
    );
  return (
    <>
      <h3 ref={head} tabIndex={-1}>
        Your recovery codes
      </h3>
      <p>Each is good once, in place of a code, should you lose the app. They are shown this once: keep them where you keep papers.</p>
      <ol className="recovery-codes" aria-label="Recovery codes">
        {codes.map((code) => (
          <li key={code}>
            <code>{code}</code>
          </li>
        ))}
      </ol>
      <div className="line-up">
        <Button onClick={() => void copy()}>Copy</Button>
        <Button onClick={() => (download("taskboard-recovery-codes.txt", text), say("Saved."))}>Download</Button>
        <Button kind="primary" onClick={onDone}>
          I have kept them
        </Button>
        <p role="status" className="soft-text">
          {said}
        </p>
      </div>
    </>
  );
}

function download(name: string, text: string): void {
  const url = URL.createObjectURL(new Blob([`${text}\n`], { type: "text/plain" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000); // the browser reads it in its own time
}
