import { readFileSync } from "node:fs";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createRealtimeClient } from "../../src/index.js";
import { createTestPlatform, createTestServer, paths } from "../../src/testing/index.js";

// Between the lines is what docs/testing.md shows.
// -----
beforeEach(() => void vi.useFakeTimers()); // minutes pass in no time
afterEach(() => void vi.useRealTimers());

test("an outage is no sign-out, and a sign-out is one in all tabs", async () => {
  const server = createTestServer();
  const browser = createTestPlatform({ server });
  const open = () => createRealtimeClient({ url: server.url, platform: browser.tab() }); // your application
  const [one, two] = [open(), open()];
  two.auth.isAuthenticated(); // a client does nothing before its first use
  await one.auth.setTokens(server.signIn("ann"));
  await one.socket.connect();

  server.fail(paths.refresh, { status: 503, for: 5 * 60_000 });
  server.expire();
  server.vanish();
  await vi.advanceTimersByTimeAsync(10 * 60_000);
  expect(one.auth.isAuthenticated()).toBe(true);
  expect(one.socket.state.connected).toBe(true);

  await one.auth.clear();
  await vi.advanceTimersByTimeAsync(0);
  expect(two.auth.isAuthenticated()).toBe(false);

  one.close();
  two.close();
  server.stop();
});
// -----

test("docs/testing.md shows it", () => {
  const own = readFileSync(new URL(import.meta.url), "utf8").split("// -----\n")[1];
  const docs = readFileSync(new URL("../../../../../docs/testing.md", import.meta.url), "utf8");
  const shown = /```ts\n(import [^]*?\n\n)([^]*?)```/.exec(docs);
  expect(shown?.[2]).toBe(own);
});
