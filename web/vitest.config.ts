import { defineConfig } from "vitest/config";

export default defineConfig({
  test: { include: ["{packages/*,taskboard}/test/**/*.test.{ts,tsx}"], environment: "node" },
});
