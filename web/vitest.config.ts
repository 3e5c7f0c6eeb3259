import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const source = (path: string) => fileURLToPath(new URL(`packages/client/src/${path}`, import.meta.url));

export default defineConfig({
  // The task board's page names the client as an application does. Its sources do: dist may be older, or not there yet.
  resolve: {
    alias: [
      { find: /^@holdfast\/client$/, replacement: source("index.ts") },
      { find: /^@holdfast\/client\/react$/, replacement: source("react/index.ts") },
    ],
  },
  test: { include: ["{packages/*,taskboard}/test/**/*.test.{ts,tsx}"], environment: "node", testTimeout: 300_000, hookTimeout: 300_000 },
});
