import { useHttpClient } from "@holdfast/client/react";
import { useCallback } from "react";
import type { Account } from "./calls.js";
import { IdleTime } from "./idle-time.js";
import { ChangePassword } from "./change-password.js";
import { Passkeys } from "./passkeys.js";
import { SecondFactor } from "./second-factor.js";
import { Loaded, useLoad } from "./use-load.js";

/** Second factor, passkeys, password, idle time. */
export function Security() {
  const http = useHttpClient();
  const account = useLoad(useCallback(async (signal) => (await http.get<{ user: Account }>("/api/auth/session", { signal })).user, [http]));
  return (
    <div className="account-page">
      <h1>Security</h1>
      <section className="account-section" aria-labelledby="security-code">
        <h2 id="security-code">Second step</h2>
        <Loaded load={account} lines={1}>
          {({ totp }) => <SecondFactor on={totp} onChange={account.again} />}
        </Loaded>
      </section>
      <section className="account-section" aria-labelledby="security-passkeys">
        <h2 id="security-passkeys">Passkeys</h2>
        <Passkeys />
      </section>
      <section className="account-section" aria-labelledby="security-password">
        <h2 id="security-password">Password</h2>
        <ChangePassword />
      </section>
      <section className="account-section" aria-labelledby="security-idle">
        <h2 id="security-idle">Lock</h2>
        <IdleTime />
      </section>
    </div>
  );
}
