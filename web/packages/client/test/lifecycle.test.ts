import { readdirSync, readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { useFakeClock } from "./lifecycle/clock.js";
import { parse } from "./lifecycle/scenario.js";
import { Stage } from "./lifecycle/stage.js";
import "../src/testing/loaded.js";

// The scenarios that clients in all languages are held to: see their README.
const folder = new URL("../../../../testdata/lifecycle/", import.meta.url);

// What this client has of what scenarios need. A file that needs what is not
// here, or is not for browsers, is listed in `waiting`, and nowhere else.
const features = ["activity", "csrf", "ids", "queue", "sessions"];
const waiting: Record<string, string[]> = {
  "L45-closed-for-good": ["browser"], // `connect` opens what `close` has closed
};
const played = 60;

// Of the client's random waits: another one is another run.
const seed = Number(process.env["LIFECYCLE_SEED"] ?? 1);

const left: Record<string, string[]> = {};
let files = 0;

beforeEach(useFakeClock);
afterEach(() => void vi.useRealTimers());

for (const file of readdirSync(folder).filter((f) => f.endsWith(".json"))) {
  const cases = parse(readFileSync(new URL(file, folder), "utf8"));
  const first = cases.values().next().value!;
  const missing = [...(first.applies.includes("browser") ? [] : ["browser"]), ...first.needs.filter((n) => !features.includes(n))];
  const name = file.replace(/\.json$/, "");
  if (missing.length > 0) {
    left[name] = missing;
    continue;
  }
  files++;
  describe(name, () => {
    for (const [of, scenario] of cases) {
      test(of || scenario.name, async () => {
        const stage = new Stage(scenario, seed);
        const faults = await stage.play();
        await stage.end();
        expect(faults).toEqual([]);
      }, 60_000);
    }
  });
}

test("no file is left out by accident", () => {
  expect([files, left]).toEqual([played, waiting]);
});
