import { useHttpClient } from "@holdfast/client/react";
import { useCallback, useState, type FormEvent } from "react";
import { Button, Field } from "../ui/index.js";
import { agentName } from "./agent.js";
import { addPasskey, type Passkey } from "./calls.js";
import { hasPasskeys } from "./passkey.js";
import { isNotFound } from "./trouble.js";
import { CallProblem, useCall } from "./use-call.js";
import { useFocusBack } from "./use-focus-back.js";
import { Loaded, useLoad } from "./use-load.js";
import { when } from "./when.js";

/** The account's passkeys: added under a name, and removed. */
export function Passkeys() {
  const http = useHttpClient();
  const load = useLoad(useCallback(async (signal) => (await http.get<{ passkeys: Passkey[] }>("/api/auth/passkeys", { signal })).passkeys, [http]));
  const [adding, setAdding] = useState(false);
  const [said, say] = useState("");
  const [removing, setRemoving] = useState(false);
  const place = useFocusBack(adding || removing);

  const add = useCall(
    async (name: string) => {
      const { name: kept } = await addPasskey(http, name);
      setAdding(false);
      say(`“${kept || "Passkey"}” is added.`);
      await load.again();
    },
    { NOT_FOUND: "Passkeys don’t work at this address. Open the board by its name, such as localhost." },
  );
  const remove = useCall(async ({ id, name }: Passkey) => {
    setRemoving(true);
    await http.delete(`/api/auth/passkeys/${encodeURIComponent(id)}`).catch((error) => {
      if (!isNotFound(error)) throw error; // it is gone, as was wanted
    });
    say(`“${name || "Passkey"}” is removed. Your device may still offer it: remove it there, too.`);
    await load.again();
    setRemoving(false);
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    say("");
    void add.run(String(new FormData(event.currentTarget).get("name")).trim());
  };

  return (
    <>
      <p>Sign in by finger, face or PIN: nothing to type, nothing to be stolen, and no second step.</p>
      <Loaded load={load} lines={1}>
        {(passkeys) =>
          passkeys.length > 0 && (
            <ul className="rows inner" aria-label="Passkeys">
              {passkeys.map((passkey) => (
                <li key={passkey.id} className="rows-row">
                  <div className="rows-text">
                    <p>
                      <strong>{passkey.name || "Passkey"}</strong>
                    </p>
                    <p className="rows-more">
                      Added {when(passkey.createdAt)}
                      {passkey.lastUsedAt ? ` · last used ${when(passkey.lastUsedAt)}` : " · not used yet"}
                    </p>
                  </div>
                  <Button aria-label={`Remove ${passkey.name || "the passkey"}`} busy={remove.busy} onClick={() => void remove.run(passkey)}>
                    Remove
                  </Button>
                </li>
              ))}
            </ul>
          )
        }
      </Loaded>
      <CallProblem call={remove} />
      {adding ? (
        <form className="form-stack form-narrow" noValidate onSubmit={submit}>
          <Field
            autoFocus
            label="Name of the passkey"
            name="name"
            maxLength={100}
            autoComplete="off"
            defaultValue={agentName(navigator.userAgent)}
            hint="So that you know later which one it is."
          />
          <CallProblem call={add} />
          <div className="line-up">
            <Button type="submit" kind="primary" busy={add.busy}>
              Add it
            </Button>
            <Button kind="quiet" onClick={() => setAdding(false)}>
              Cancel
            </Button>
          </div>
        </form>
      ) : (
        <div className="line-up" ref={place}>
          {hasPasskeys() ? (
            <Button onClick={() => (say(""), add.clear(), setAdding(true))}>Add a passkey</Button>
          ) : (
            <p className="soft-text">This browser has no passkeys at this address: they need https, or localhost.</p>
          )}
        </div>
      )}
      <p role="status" className="soft-text">
        {said}
      </p>
    </>
  );
}
