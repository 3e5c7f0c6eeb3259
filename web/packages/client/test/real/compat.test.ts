// Plays the scenarios of the package that `compat` replaces against the real
// server: `go` has to be there, and `npm ci --prefix internal/interop` done.
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { build } from "esbuild";
import { expect, it } from "vitest";

const root = fileURLToPath(new URL("../../../../..", import.meta.url));

it("every scenario of realtimehttpauthclient, with the import changed", async () => {
  const dir = mkdtempSync(join(tmpdir(), "holdfast-compat-"));
  try {
    const outfile = join(dir, "compat.mjs");
    await build({
      entryPoints: [join(root, "web/packages/client/src/compat/index.ts")],
      ...{ outfile, bundle: true, format: "esm", platform: "node", alias: { react: join(root, "web/node_modules/react/index.js") } },
    });
    const args = ["test", "-count=1", "-v", "-run", "^TestSeedClient$", "./internal/interop"];
    const run = promisify(execFile)("go", args, { cwd: root, env: { ...process.env, SEED_CLIENT: outfile } });
    const { stdout } = await run.catch((e) => ({ stdout: `${e.stdout}${e.stderr}` }));
    expect(stdout.match(/--- PASS: TestSeedClient\/\w+/g)?.length, stdout).toBe(13);
  } finally {
    rmSync(dir, { recursive: true });
  }
}, 300_000);
