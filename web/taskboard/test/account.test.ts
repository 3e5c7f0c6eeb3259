import { HoldfastError } from "@holdfast/client";
import { describe, expect, test } from "vitest";
import { agentName, isHandheld } from "../src/account/agent.js";
import { troubleOf } from "../src/account/trouble.js";
import { duration } from "../src/account/use-call.js";
import { when } from "../src/account/when.js";

const chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";

test.each([
  [chrome, "Chrome on Linux"],
  [`${chrome} Edg/140.0.0.0`, "Edge on Linux"],
  ["Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Windows"],
  ["Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15", "Safari on Mac"],
  ["Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile/15E148 Safari/604.1", "Safari on iPhone"],
  ["Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36", "Chrome on Android"],
  ["curl/8.5.0", "curl"],
  ["Go-http-client/1.1", "A Go program"],
  ["somebody/2 (else)", "somebody"],
  ["", "An unknown program"],
])("%s is called %s", (agent, name) => {
  expect(agentName(agent)).toBe(name);
  expect(isHandheld(agent)).toBe(/iPhone|Android/.test(name));
});

test("a moment is told as people tell it", () => {
  const now = new Date(2026, 4, 3, 14, 30).getTime();
  const said = (...at: [number, number, number, number?, number?]) => when(new Date(...at).getTime(), now, "en-GB");
  expect(said(2026, 4, 3, 14, 29)).toBe("just now");
  expect(when(now + 5000, now)).toBe("just now"); // the server's clock is ahead
  expect(said(2026, 4, 3, 14, 18)).toBe("12 minutes ago");
  expect(said(2026, 4, 3, 0, 5)).toBe("today at 00:05");
  expect(said(2026, 4, 2, 23, 59)).toBe("yesterday at 23:59");
  expect(said(2026, 4, 1, 12)).toBe("1 May 2026");
});

describe("errors in words", () => {
  test("the place's own words go first, then the page's, then the server's", () => {
    expect(troubleOf(new HoldfastError("CONFLICT", "a", {}), { CONFLICT: "b" })).toEqual({ code: "CONFLICT", text: "b" });
    expect(troubleOf(new HoldfastError("NETWORK", "No answer"))?.text).toContain("can’t be reached");
    expect(troubleOf(new HoldfastError("CONFLICT", "There are 20 passkeys already; delete one first"))?.text).toBe(
      "There are 20 passkeys already; delete one first.",
    );
  });
  test("a limit says when it ends", () => {
    expect(troubleOf(new HoldfastError("RATE_LIMITED", "", { retryAfter: 42 }), {}, 1000)?.until).toBe(43_000);
    expect(duration(42)).toBe("42 s");
    expect(duration(899)).toBe("14 min 59 s");
  });
  test("what the user has ended is no trouble; what the browser says of passkeys is put into words", () => {
    expect(troubleOf(new HoldfastError("CANCELED", ""))).toBeUndefined();
    expect(troubleOf(new DOMException("", "AbortError"))).toBeUndefined();
    expect(troubleOf(new DOMException("", "NotAllowedError"))?.code).toBe("PASSKEY");
    expect(troubleOf(new DOMException("", "SecurityError"))?.text).toContain("localhost");
    expect(troubleOf(new TypeError("x"))?.code).toBe("UNKNOWN");
  });
});
