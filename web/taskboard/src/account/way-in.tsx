import type { Tokens } from "@holdfast/client";
import { useHttpClient } from "@holdfast/client/react";
import { useEffect, useRef, useState, type FormEvent } from "react";
import { Button, Field } from "../ui/index.js";
import { passkeySignIn, signIn, signUp, type Credentials, type Entry } from "./calls.js";
import { hasPasskeys } from "./passkey.js";
import { PasswordField } from "./password-field.js";
import { useOfferedPasskey } from "./offered-passkey.js";
import { CallProblem, useCall } from "./use-call.js";

/** To sign in, or to sign up. */
export type Way = "in" | "up";

/** The shortest password that the server takes, in characters. */
export const minPassword = 8;

const words = {
  INVALID_CREDENTIALS: "This address and this password don’t belong together.",
  CONFLICT: "This address has an account.",
  FORBIDDEN: "New accounts can’t be made here.",
};

interface Props {
  way: Way;
  onWay: (way: Way) => void;
  onEntry: (entry: Entry, who?: Credentials) => void;
}

/** The form of both ways. What was typed stays when one changes the way. */
export function WayIn({ way, onWay, onEntry }: Props) {
  const http = useHttpClient();
  const form = useRef<HTMLFormElement>(null);
  const shown = useRef(way);
  const [wrong, setWrong] = useState<Wrong>({});
  const up = way === "up";

  const enter = useCall(async (who: Credentials) => onEntry(await (up ? signUp : signIn)(http, who), who), words);
  const passkey = useCall(async () => {
    const done = offered.pause();
    try {
      onEntry(await passkeySignIn(http));
    } finally {
      done();
    }
  }, passkeyWords);
  const offered = useOfferedPasskey(!up, (tokens: Tokens) => onEntry(tokens));

  useEffect(() => {
    if (shown.current === way) return;
    shown.current = way;
    // It begins anew, at the first field that is empty.
    const fields = [...form.current!.querySelectorAll("input")];
    (fields.find(({ value }) => !value) ?? fields[0])?.focus();
  }, [way]);
  const change = (to: Way) => {
    setWrong({});
    enter.clear();
    passkey.clear();
    onWay(to);
  };
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const data = new FormData(event.currentTarget);
    const who = read(data, up);
    const found = check(who, up);
    setWrong(found);
    const [first] = Object.keys(found);
    if (first) (event.currentTarget.elements.namedItem(first) as HTMLElement | null)?.focus();
    else void enter.run(who);
  };

  return (
    <>
      <h1>{up ? "Make an account" : "Sign in"}</h1>
      <form ref={form} className="form-stack" noValidate onSubmit={submit}>
        {up && <Field label="Name" name="name" autoComplete="name" maxLength={100} error={wrong.name} hint="Others on your boards see it." />}
        <Field
          label="E-mail"
          name="email"
          type="email"
          autoComplete={up ? "username" : "username webauthn"}
          autoCapitalize="none"
          spellCheck={false}
          error={wrong.email}
        />
        <PasswordField
          label="Password"
          name="password"
          autoComplete={up ? "new-password" : "current-password webauthn"}
          error={wrong.password}
          hint={up ? `At least ${minPassword} characters. A few words are good.` : undefined}
        />
        <CallProblem call={enter}>
          {up && enter.trouble?.code === "CONFLICT" && (
            <>
              {" "}
              <button type="button" className="text-link" onClick={() => change("in")}>
                Sign in instead
              </button>
            </>
          )}
        </CallProblem>
        <Button type="submit" kind="primary" className="full-width" busy={enter.busy} disabled={enter.wait > 0}>
          {up ? "Make the account" : "Sign in"}
        </Button>
      </form>
      {!up && hasPasskeys() && offered.possible && (
        <>
          <p className="or">or</p>
          <Button className="full-width" busy={passkey.busy} disabled={passkey.wait > 0} onClick={() => void passkey.run()}>
            Sign in with a passkey
          </Button>
        </>
      )}
      <CallProblem call={passkey} />
      <CallProblem call={offered} />
      <p className="way-other">
        {up ? "You have one? " : "New here? "}
        <button type="button" className="text-link" onClick={() => change(up ? "in" : "up")}>
          {up ? "Sign in" : "Make an account"}
        </button>
      </p>
    </>
  );
}

const passkeyWords = {
  INVALID_CREDENTIALS: "This passkey belongs to no account here. It may have been removed.",
  NOT_FOUND: "Passkeys don’t work at this address. Open the board by its name, such as localhost.",
};

type Wrong = { [field in "name" | "email" | "password"]?: string };

function read(data: FormData, up: boolean): Credentials {
  const text = (name: string) => String(data.get(name) ?? "");
  return { email: text("email").trim(), password: text("password"), ...(up && { name: text("name").trim() }) };
}

/** What is missing, by field, in their order. The server looks closer. */
function check({ name, email, password }: Credentials, up: boolean): Wrong {
  return {
    ...(up && !name && { name: "What should others call you?" }),
    ...(!/^\S+@\S+$/.test(email) && { email: email ? "This is not an e-mail address." : "Your e-mail address is needed." }),
    ...(!password
      ? { password: "A password is needed." }
      : up && [...password].length < minPassword && { password: `Use at least ${minPassword} characters.` }),
  };
}
