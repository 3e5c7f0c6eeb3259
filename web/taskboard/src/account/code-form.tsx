import { useState, type FormEvent } from "react";
import { Button, Field } from "../ui/index.js";
import type { troubleOf } from "./trouble.js";
import { CallProblem, useCall } from "./use-call.js";

/** Asks for a code of the second factor. `anyCode`: a recovery code will do as well. */
export function CodeForm({
  label,
  action,
  words,
  anyCode = false,
  onCode,
  onCancel,
}: {
  label: string;
  action: string;
  words: Parameters<typeof troubleOf>[1];
  anyCode?: boolean;
  onCode: (code: string) => Promise<void>;
  onCancel: () => void;
}) {
  const [missing, setMissing] = useState(false);
  const enter = useCall(onCode, words);
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const input = event.currentTarget.elements.namedItem("code") as HTMLInputElement;
    const code = input.value.replace(/\s/g, "");
    setMissing(!code);
    if (code) void enter.run(code);
    else input.focus();
  };
  return (
    <form className="form-stack form-narrow" noValidate onSubmit={submit}>
      <Field
        autoFocus
        label={label}
        name="code"
        className="code-input"
        autoComplete="one-time-code"
        inputMode={anyCode ? "text" : "numeric"}
        autoCapitalize="none"
        spellCheck={false}
        error={missing ? "The code is needed." : undefined}
      />
      <CallProblem call={enter} />
      <div className="line-up">
        <Button type="submit" kind="primary" busy={enter.busy} disabled={enter.wait > 0}>
          {action}
        </Button>
        <Button kind="quiet" onClick={onCancel}>
          Cancel
        </Button>
      </div>
    </form>
  );
}
