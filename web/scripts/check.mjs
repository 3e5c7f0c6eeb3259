// All checks of the browser client: quiet, with one line for each. What fails
// is printed whole, and the end is a failure.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { client, web } from "./bundle.mjs";
import { consumer } from "./consumer.mjs";
import { pack } from "./pack.mjs";

const bin = (name, ...args) => run(`${web}/node_modules/.bin/${name}`, args);
const plain = (text) => text.replace(/\x1b\[[0-9;]*m/g, "");

function run(command, args, env) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: web, env: { ...process.env, NO_COLOR: "1", CI: "1", ...env } });
    let out = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (out += data));
    child.on("error", reject);
    child.on("close", (code) => (code === 0 ? resolve(plain(out)) : reject(new Error(plain(out)))));
  });
}

let failed = false;
async function step(name, work) {
  const began = performance.now();
  try {
    const line = await work();
    console.log(`web: ${name}: ${line} (${((performance.now() - began) / 1000).toFixed(1)} s)`);
  } catch (err) {
    failed = true;
    console.error(`web: ${name} FAILED\n${err.message}`);
  }
}

const lastLine = (out) => out.trim().split("\n").at(-1).trim();
const tests = (out) => /^\s*Tests\s+(.*?)(?: \(\d+\))?$/m.exec(out)?.[1] ?? lastLine(out);

const types = () =>
  step("types", async () => {
    // One process for all of them: they share what they read, and what has not changed is not checked again.
    const projects = ["test", "compat"].map((name) => `${client}/tsconfig.${name}.json`);
    await bin("tsc", "-b", ...projects, `${web}/browser`, `${web}/taskboard`);
    return "sources and tests are strict";
  });

/** What is published, and what it says of itself. Nothing of it changes dist. */
async function package_() {
  await step("page", () => run(process.execPath, [`${web}/taskboard/build.mjs`, "--check"]).then(lastLine));
  await step("api", () => run(process.execPath, [`${web}/scripts/api.mjs`, "--check"]).then(lastLine));
  await step("sizes", () => run(process.execPath, [`${web}/scripts/sizes.mjs`]).then(lastLine));
  const place = mkdtempSync(join(tmpdir(), "holdfast-pack-"));
  let tarball;
  await step("pack", async () => {
    const packed = pack(place);
    tarball = packed.tarball;
    return packed.line;
  });
  if (tarball) {
    await step("publint", () => bin("publint", "run", client, "--strict").then(lastLine));
    await step("attw", () => bin("attw", tarball, "--profile", "esm-only", "--format", "ascii", "--no-emoji").then(() => "no problems"));
    await step("consumer", async () => consumer(tarball));
  }
  rmSync(place, { recursive: true, force: true });
  await types();
  await step("bench", () => run(process.execPath, [`${web}/bench/bench.mjs`, "--quick"]).then(lastLine));
}

// The browser takes longest, and needs nothing but the build.
async function chromium() {
  const args = ["run", "--config", "vitest.browser.config.ts", "--reporter=dot"];
  await step("chromium", () => run(`${web}/node_modules/.bin/vitest`, args, { HOLDFAST_BUILT: "1" }).then(tests));
}

await step("build", () => run("npm", ["run", "build", "--silent", "--workspace", "@holdfast/client"]).then(() => "dist is built"));
await Promise.all([chromium(), package_(), step("vitest", () => bin("vitest", "run", "--reporter=dot").then(tests))]);
process.exitCode = failed ? 1 : 0;
