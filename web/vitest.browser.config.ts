import { defineConfig } from "vitest/config";

/** Tests in a real Chromium, two files at a time: each has servers and a browser of its own, and waits for them most of its time. */
export default defineConfig({
  test: {
    include: ["browser/**/*.test.ts"],
    environment: "node",
    globalSetup: ["browser/setup.ts", "browser/taskboard/setup.ts"],
    maxWorkers: 2,
    // Bounds for machines that are slow and busy: what is waited for comes, and how long that takes is no test's matter.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    expect: { poll: { interval: 20, timeout: 60_000 } },
  },
});
