import { useHttpClient, useRealtimeClient } from "@holdfast/client/react";
import { useCallback, useState } from "react";
import { parse, useHash } from "../router.js";
import { isKnown } from "../settings.js";
import { Button, Problem } from "../ui/index.js";
import { signIn, type Credentials, type Entry } from "./calls.js";
import { CodeStep } from "./code-step.js";
import { Intro } from "./intro.js";
import type { SignOutReason } from "./sign-out-reason.js";
import { useCall } from "./use-call.js";
import { WayIn, type Way } from "./way-in.js";

/** The way in: password, code, passkey; or a new account. `reason` is why the last session ended. */
export function SignIn({ reason }: { reason?: SignOutReason | undefined }) {
  const http = useHttpClient();
  const { auth } = useRealtimeClient();
  const invited = parse(useHash()).at === "join";
  const [way, setWay] = useState<Way>(() => (isKnown() ? "in" : "up"));
  const [halfway, setHalfway] = useState<Credentials>();

  /** Takes what the server has answered: a session, or that a code is wanted as well. */
  const entered = useCallback(
    (entry: Entry, who?: Credentials) => {
      if ("requires2fa" in entry) {
        setHalfway(who);
        return;
      }
      auth!.setTokens(entry);
    },
    [auth],
  );

  return (
    <div className="way">
      <Intro />
      <main className="way-main">
        <div className="way-form">
          {reason && !halfway && <Reason reason={reason} />}
          {halfway ? (
            <CodeStep
              onCode={async (totpCode) => entered(await signIn(http, { ...halfway, totpCode }))}
              onBack={() => setHalfway(undefined)}
            />
          ) : (
            <>
              {invited && (
                <p className="account-note">You are invited to a board. It opens as soon as you are signed in.</p>
              )}
              <WayIn way={way} onWay={setWay} onEntry={entered} />
            </>
          )}
        </div>
      </main>
    </div>
  );
}

/** Why the session has ended. A sign-out that the server did not hear of can be told again. */
function Reason({ reason }: { reason: SignOutReason }) {
  const http = useHttpClient();
  const [told, setTold] = useState(false);
  const again = useCall(async () => {
    await http.post("/api/auth/sign-out", {}, { anonymous: true });
    setTold(true);
  });
  if (!reason.untold)
    return (
      <div role="alert" className="account-note">
        {reason.text}
      </div>
    );
  if (told)
    return (
      <div role="status" className="account-note">
        You are signed out.
      </div>
    );
  return (
    <Problem>
      <p>{reason.text} Whoever loads this page anew is signed in again.</p>
      <Button busy={again.busy} onClick={() => void again.run()}>
        Tell it again
      </Button>
    </Problem>
  );
}
