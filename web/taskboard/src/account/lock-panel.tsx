import type { User } from "@holdfast/client";
import { useAuth, useHttpClient } from "@holdfast/client/react";
import { useEffect, useRef, useState, type FormEvent } from "react";
import { Avatar, Button } from "../ui/index.js";
import { proveByPasskey, proveByPassword } from "./calls.js";
import { hasPasskeys } from "./passkey.js";
import { PasswordField } from "./password-field.js";
import { CallProblem, useCall } from "./use-call.js";

/** What is seen instead of a locked page. */
export function LockPanel({ user, minutes, onUnlock }: { user: User; minutes: number; onUnlock: () => void }) {
  const http = useHttpClient();
  const { signOut } = useAuth();
  const input = useRef<HTMLInputElement>(null);
  const [missing, setMissing] = useState(false);
  const name = user.name || user.email || user.id;

  const password = useCall(
    async (text: string) => {
      await proveByPassword(http, user.email ?? "", text);
      onUnlock();
    },
    { INVALID_CREDENTIALS: "This is not your password." },
  );
  const passkey = useCall(
    async () => {
      if (await proveByPasskey(http, user.id, user.email ?? "")) onUnlock();
    },
    { INVALID_CREDENTIALS: "This passkey is not yours, or has been removed.", NOT_FOUND: "Passkeys don’t work at this address." },
  );
  useEffect(() => {
    const before = document.activeElement;
    input.current?.focus();
    // Back to where one was, if that is still there.
    return () => (before as HTMLElement | null)?.focus();
  }, []);

  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const text = input.current!.value;
    setMissing(!text);
    if (text) void password.run(text);
    else input.current!.focus();
  };
  return (
    <main className="lock">
      <div className="lock-panel">
        <div className="lock-who">
          <Avatar id={user.id} name={name} size={48} />
          <div>
            <h1>Locked</h1>
            <p className="soft-text">{name}</p>
          </div>
        </div>
        <p>
          {minutes === 1 ? "For a minute" : `For ${minutes} minutes`} nobody has touched this page, so it is covered, and its connection is closed. What
          you have typed is still there.
        </p>
        <form className="form-stack" noValidate onSubmit={submit}>
          {/* So that password managers know whose password it is. */}
          <input className="sr" type="text" name="email" autoComplete="username" defaultValue={user.email} readOnly tabIndex={-1} aria-hidden="true" />
          <PasswordField ref={input} label="Password" name="password" autoComplete="current-password" error={missing ? "Your password is needed." : undefined} />
          <CallProblem call={password} />
          <Button type="submit" kind="primary" className="full-width" busy={password.busy} disabled={password.wait > 0}>
            Unlock
          </Button>
        </form>
        {hasPasskeys() && (
          <Button className="full-width" busy={passkey.busy} onClick={() => void passkey.run()}>
            Unlock with a passkey
          </Button>
        )}
        <CallProblem call={passkey} />
        <p className="way-other">
          <button type="button" className="text-link" onClick={() => void signOut().catch(() => {})}>
            Sign out
          </button>
        </p>
      </div>
    </main>
  );
}
