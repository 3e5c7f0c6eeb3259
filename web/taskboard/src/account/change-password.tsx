import { useAuth, useHttpClient } from "@holdfast/client/react";
import { useState, type FormEvent } from "react";
import { Button } from "../ui/index.js";
import { useFocusBack } from "./use-focus-back.js";
import { PasswordField } from "./password-field.js";
import { CallProblem, useCall } from "./use-call.js";
import { minPassword } from "./way-in.js";

type Wrong = { old?: string; next?: string };

/** Changes the password, which ends all other sessions. */
export function ChangePassword() {
  const http = useHttpClient();
  const { user } = useAuth();
  const [open, setOpen] = useState(false);
  const place = useFocusBack(open);
  const [done, setDone] = useState(false);
  const [wrong, setWrong] = useState<Wrong>({});
  const change = useCall(
    async (oldPassword: string, newPassword: string) => {
      await http.post("/api/auth/password/change", { oldPassword, newPassword });
      setOpen(false);
      setDone(true);
    },
    { INVALID_CREDENTIALS: "The present password is wrong." },
  );
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const data = new FormData(event.currentTarget);
    const [old, next] = [String(data.get("old")), String(data.get("next"))];
    const found: Wrong = {
      ...(!old && { old: "Your present password is needed." }),
      ...([...next].length < minPassword && { next: `Use at least ${minPassword} characters.` }),
    };
    setWrong(found);
    const [first] = Object.keys(found);
    if (first) (event.currentTarget.elements.namedItem(first) as HTMLElement).focus();
    else void change.run(old, next);
  };
  if (!open)
    return (
      <>
        <p>When you change it, you are signed out everywhere but here.</p>
        <div className="line-up" ref={place}>
          <Button onClick={() => (setDone(false), setWrong({}), change.clear(), setOpen(true))}>Change the password</Button>
          <p role="status" className="soft-text">
            {done ? "It is changed, and all other sessions are ended." : ""}
          </p>
        </div>
      </>
    );
  return (
    <form className="form-stack form-narrow" noValidate onSubmit={submit}>
      <input className="sr" type="text" name="email" autoComplete="username" defaultValue={user?.email} readOnly tabIndex={-1} aria-hidden="true" />
      <PasswordField autoFocus label="Present password" name="old" autoComplete="current-password" error={wrong.old} />
      <PasswordField label="New password" name="next" autoComplete="new-password" error={wrong.next} hint={`At least ${minPassword} characters.`} />
      <CallProblem call={change} />
      <div className="line-up">
        <Button type="submit" kind="primary" busy={change.busy} disabled={change.wait > 0}>
          Change it
        </Button>
        <Button kind="quiet" onClick={() => setOpen(false)}>
          Cancel
        </Button>
      </div>
    </form>
  );
}
