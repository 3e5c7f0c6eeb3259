import { defineConfig } from "vitest/config";

/** Tests in a real Chromium, one after the other. */
export default defineConfig({
  test: {
    include: ["browser/**/*.test.ts"],
    environment: "node",
    globalSetup: ["browser/setup.ts", "browser/taskboard/setup.ts"],
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // A bound for machines that are busy, in place of one second.
    expect: { poll: { interval: 20, timeout: 20_000 } },
  },
});
