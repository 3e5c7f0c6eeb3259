// The row of the table of docs/browser.md that a browser alone shows; the others
// are in packages/client/test/docs/trouble.test.ts.
import { expect, test } from "vitest";
import { tab, until, world, type Seen } from "./world.js";

const w = world();

const account = { email: "ann@example.com", password: "correct horse battery", mode: "token" };

test("ORIGIN_NOT_ALLOWED: in the server's log; calls fail with NETWORK, and the socket stays connecting", async () => {
  const signedUp = await fetch(`${w.stage.accounts}/api/auth/sign-up`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(account),
  });
  const { accessToken } = (await signedUp.json()) as { accessToken: string };
  const found: unknown[] = [];
  for (const origin of [w.stage.other, w.stage.accounts]) {
    const page = await tab(await w.profile(), origin);
    await page.evaluate(([url, authToken]) => start({ url, authToken }), [w.stage.accounts, accessToken] as const);
    found.push(await page.evaluate(() => client.http.get("/app/me").then(() => "none", (e) => e.code)));
    await page.evaluate(() => void client.socket.connect().catch(() => {}));
    await until(page, () => client.socket.state.error || client.socket.state.connected);
    found.push(await page.evaluate(() => [client.socket.state.state, client.socket.state.error?.code ?? "none"]));
  }
  expect(found).toEqual(["NETWORK", ["connecting", "NETWORK"], "none", ["connected", "none"]]);
  const { requests }: { requests: Seen[] } = await w.stage.do("recorded");
  const refused = requests.filter((r) => r.code === "ORIGIN_NOT_ALLOWED");
  expect(refused.map((r) => [r.origin, r.status])).toContainEqual([w.stage.other, 403]);
});
