// Compiles the projects under consumer/ against the packed package, as an
// application that has installed it would: strict, with both ways of resolving
// modules that TypeScript has for ESM, and once with the declarations themselves
// checked. The code of the manual and the README is compiled as well.
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, rmSync } from "node:fs";
import { web } from "./bundle.mjs";
import { write } from "./docs.mjs";

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
  const shown = write(`${place}/docs`);
  const compile = (project, options) => {
    const compiler = `${web}/node_modules/typescript/bin/tsc`;
    const { status, stdout } = spawnSync(process.execPath, [compiler, "-p", project, ...options], { encoding: "utf8" });
    if (status !== 0) throw new Error(`${project} ${options.join(" ")}:\n${stdout}`);
  };
  for (const options of Object.values(ways)) compile(place, options);
  compile(`${place}/docs`, []);
  return `compiles with moduleResolution ${Object.keys(ways).join(", ")}; so do ${shown} pieces of code in docs/browser.md and README.md`;
}
