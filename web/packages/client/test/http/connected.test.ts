import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createRealtimeClient } from "../../src/index.js";
import { createTestPlatform } from "../../src/testing/platform.js";
import { createTestServer } from "../../src/testing/server.js";

const immediate = setImmediate; // taken before it is faked

// The code of calls as a page gets it: late, and not at the first try.
let load: () => Promise<void>;
let loads: number;

beforeEach(() => {
  vi.useFakeTimers({ now: 1_800_000_000_000 });
  loads = 0;
  vi.resetModules();
  vi.doMock("../../src/http/http.js", async (original) => {
    loads++;
    await load();
    return original();
  });
});
afterEach(() => {
  vi.doUnmock("../../src/http/http.js");
  vi.useRealTimers();
});

/** Until it is so, whatever files are read meanwhile. */
const until = async (so: () => boolean) => {
  while (!so()) {
    await new Promise((resolve) => immediate(resolve));
    await vi.advanceTimersByTimeAsync(0);
  }
};

test("the code of calls is loaded once there is a connection, and again at the next one where that failed", async () => {
  let offline = true;
  load = async () => {
    if (offline) throw new Error("offline");
  };
  const server = createTestServer();
  const made = createRealtimeClient({ url: server.url, platform: createTestPlatform({ server }).tab() });
  made.auth.setTokens(server.signIn("ann"));
  expect(loads).toBe(0);
  await made.socket.connect();
  await until(() => loads === 1);
  offline = false;
  made.socket.close();
  await made.socket.connect();
  await until(() => loads === 2);
  made.close();
  server.stop();
});
