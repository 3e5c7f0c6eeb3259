// Compiles the projects under consumer/ against the packed package, as an
// application that has installed it would: strict, with both ways of resolving
// modules that TypeScript has for ESM, and once with the declarations themselves
// checked.
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, rmSync } from "node:fs";
import { web } from "./bundle.mjs";

const ways = {
  bundler: ["--module", "esnext", "--moduleResolution", "bundler", "--skipLibCheck", "false"],
  nodenext: ["--module", "nodenext", "--moduleResolution", "nodenext", "--skipLibCheck", "true"],
};

export function consumer(tarball) {
  // Under node_modules of web, so that React's types are found by walking up.
  const place = `${web}/node_modules/.consumer`;
  rmSync(place, { recursive: true, force: true });
  const installed = `${place}/node_modules/@holdfast/client`;
  mkdirSync(installed, { recursive: true });
  execFileSync("tar", ["-xzf", tarball, "-C", installed, "--strip-components=1"]);
  cpSync(`${web}/consumer`, place, { recursive: true });
  for (const [way, options] of Object.entries(ways)) {
    const compiler = `${web}/node_modules/typescript/bin/tsc`;
    const { status, stdout } = spawnSync(process.execPath, [compiler, "-p", place, ...options], { encoding: "utf8" });
    if (status !== 0) throw new Error(`moduleResolution ${way}:\n${stdout}`);
  }
  return `compiles with moduleResolution ${Object.keys(ways).join(", ")}`;
}
