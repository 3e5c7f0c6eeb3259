// Compiles the projects under consumer/ against the packed package, as an
// application that has installed it would: every way of resolving modules that
// TypeScript has for ESM, strict, libraries checked as well.
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, rmSync } from "node:fs";
import { web } from "./bundle.mjs";

const resolutions = { bundler: "esnext", nodenext: "nodenext", node16: "node16" };

export function consumer(tarball) {
  // Under node_modules of web, so that React's types are found by walking up.
  const place = `${web}/node_modules/.consumer`;
  rmSync(place, { recursive: true, force: true });
  const installed = `${place}/node_modules/@holdfast/client`;
  mkdirSync(installed, { recursive: true });
  execFileSync("tar", ["-xzf", tarball, "-C", installed, "--strip-components=1"]);
  cpSync(`${web}/consumer`, place, { recursive: true });
  for (const [resolution, module] of Object.entries(resolutions)) {
    const { status, stdout } = spawnSync(
      process.execPath,
      [`${web}/node_modules/typescript/bin/tsc`, "-p", place, "--module", module, "--moduleResolution", resolution],
      { encoding: "utf8" },
    );
    if (status !== 0) throw new Error(`moduleResolution ${resolution}:\n${stdout}`);
  }
  return `compiles with ${Object.keys(resolutions).join(", ")}`;
}
