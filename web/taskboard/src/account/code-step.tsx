import { useRef, useState, type FormEvent } from "react";
import { Button, Field } from "../ui/index.js";
import { CallProblem, useCall } from "./use-call.js";

/** The second step of a sign-in: a code of the authenticator app, or a recovery code. */
export function CodeStep({ onCode, onBack }: { onCode: (code: string) => Promise<void>; onBack: () => void }) {
  const [recovery, setRecovery] = useState(false);
  const [missing, setMissing] = useState("");
  const form = useRef<HTMLFormElement>(null);
  const enter = useCall(onCode, {
    INVALID_CREDENTIALS: recovery ? "This recovery code is wrong, or was used before." : "This code is wrong, or was used before. Wait for the next one.",
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const input = event.currentTarget.elements.namedItem("code") as HTMLInputElement;
    const code = input.value.replace(/\s/g, "");
    setMissing(code ? "" : "The code is needed.");
    if (code) void enter.run(code);
    else input.focus();
  };
  return (
    <>
      <h1>One more step</h1>
      <p className="soft-text">
        {recovery
          ? "Type one of the recovery codes that you have kept. Each is good once."
          : "Open your authenticator app, and type the code that it shows for the task board."}
      </p>
      <form ref={form} className="form-stack" noValidate onSubmit={submit}>
        <Field
          key={String(recovery)}
          autoFocus
          label={recovery ? "Recovery code" : "Code"}
          name="code"
          className="code-input"
          autoComplete={recovery ? "off" : "one-time-code"}
          inputMode={recovery ? "text" : "numeric"}
          autoCapitalize="none"
          spellCheck={false}
          error={missing || undefined}
          onChange={({ target }) => {
            // The sixth digit is the last one.
            if (!recovery && /^\d{6}$/.test(target.value.replace(/\s/g, ""))) form.current?.requestSubmit();
          }}
        />
        <CallProblem call={enter} />
        <Button type="submit" kind="primary" className="full-width" busy={enter.busy} disabled={enter.wait > 0}>
          Go on
        </Button>
      </form>
      <p className="way-other">
        <button type="button" className="text-link" onClick={() => (enter.clear(), setMissing(""), setRecovery(!recovery))}>
          {recovery ? "Use the app’s code" : "Use a recovery code"}
        </button>
        <button type="button" className="text-link" onClick={onBack}>
          Back
        </button>
      </p>
    </>
  );
}
