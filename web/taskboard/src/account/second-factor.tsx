import { useHttpClient } from "@holdfast/client/react";
import { useState } from "react";
import { Button } from "../ui/index.js";
import { CodeForm } from "./code-form.js";
import { QRCode } from "./qr-code.js";
import { RecoveryCodes } from "./recovery-codes.js";
import { CallProblem, useCall } from "./use-call.js";
import { useFocusBack } from "./use-focus-back.js";

interface Setup {
  secret: string;
  url: string;
}

interface Recovery {
  recoveryCodes: string[];
}

/** What is being done about the second factor. */
type Doing = { step: "confirm"; setup: Setup } | { step: "codes"; codes: string[] } | { step: "off" } | { step: "renew" } | undefined;

const wrong = { INVALID_CREDENTIALS: "This code is wrong, or was used before. Wait for the next one." };

/** The second step of sign-ins: switched on and off, and its recovery codes. `onChange` is called when it was. */
export function SecondFactor({ on, onChange }: { on: boolean; onChange: () => Promise<void> }) {
  const http = useHttpClient();
  const [doing, set] = useState<Doing>();
  const place = useFocusBack(!!doing);
  const begin = useCall(async () => set({ step: "confirm", setup: await http.post<Setup>("/api/auth/totp/enable", {}) }));
  const cancel = () => set(undefined);
  const post = (what: string) => (code: string) => http.post(`/api/auth/totp/${what}`, { code });
  const codes = ({ recoveryCodes }: Recovery) => set({ step: "codes", codes: recoveryCodes });

  switch (doing?.step) {
    case "confirm":
      return (
        <>
          <p>Scan this with an authenticator app, then type the code that it shows.</p>
          <div className="setup">
            <QRCode text={doing.setup.url} label="The secret, for an authenticator app" />
            <div className="form-stack">
              <p>
                <span className="hint">Or type this secret into it:</span>
                <br />
                <code className="secret">{doing.setup.secret.replace(/.{4}(?=.)/g, "$& ")}</code>
              </p>
              <CodeForm
                label="Code"
                action="Switch it on"
                words={wrong}
                onCancel={cancel}
                onCode={async (code) => {
                  codes(await post("confirm")(code));
                  await onChange();
                }}
              />
            </div>
          </div>
        </>
      );
    case "codes":
      return <RecoveryCodes codes={doing.codes} onDone={cancel} />;
    case "off":
      return (
        <>
          <p>Without it, your password alone is enough to sign in.</p>
          <CodeForm
            label="Code, or a recovery code"
            action="Switch it off"
            words={wrong}
            anyCode
            onCancel={cancel}
            onCode={async (code) => {
              await post("disable")(code);
              cancel();
              await onChange();
            }}
          />
        </>
      );
    case "renew":
      return (
        <>
          <p>You get ten new recovery codes. The old ones are void from then on.</p>
          <CodeForm
            label="Code, or a recovery code"
            action="Make new codes"
            words={wrong}
            anyCode
            onCancel={cancel}
            onCode={async (code) => codes(await post("recovery-codes")(code))}
          />
        </>
      );
  }
  return (
    <>
      <p>
        {on ? (
          <>
            <span className="tag good">On</span> Whoever signs in with your password is asked for a code of your authenticator app.
          </>
        ) : (
          "With an authenticator app, your password alone is of no use to others."
        )}
      </p>
      <CallProblem call={begin} />
      <div className="line-up" ref={place}>
        {on ? (
          <>
            <Button onClick={() => set({ step: "renew" })}>New recovery codes</Button>
            <Button kind="danger" onClick={() => set({ step: "off" })}>
              Switch it off
            </Button>
          </>
        ) : (
          <Button kind="primary" busy={begin.busy} onClick={() => void begin.run()}>
            Set it up
          </Button>
        )}
      </div>
    </>
  );
}
