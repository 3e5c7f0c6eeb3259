// Packs the package as npm would publish it into `place` and says what is in
// it. Fails when something is missing or there that nobody needs.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { client } from "./bundle.mjs";

/** The path of the tarball, and a line about it. */
export function pack(place) {
  const text = execFileSync("npm", ["pack", "--json", "--ignore-scripts", "--loglevel=error", "--pack-destination", place], {
    cwd: client, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"],
  });
  const [{ filename, files, size }] = JSON.parse(text);
  const names = files.map((file) => file.path);
  const faults = names
    .filter((name) => !["package.json", "README.md", "LICENSE"].includes(name) && !/^dist\/.*\.(js|d\.ts)$/.test(name))
    .map((name) => `${name} is nobody's`);
  for (const name of ["package.json", "README.md", "LICENSE"]) if (!names.includes(name)) faults.push(`${name} is missing`);
  for (const name of names.filter((name) => name.endsWith(".js"))) {
    const types = name.replace(/js$/, "d.ts");
    if (!names.includes(types)) faults.push(`${types} is missing`);
    if (!existsSync(`${client}/${name.replace("dist/", "src/").replace(/js$/, "ts")}`)) faults.push(`${name} is of no source`);
  }
  const { exports, dependencies } = JSON.parse(readFileSync(`${client}/package.json`, "utf8"));
  if (dependencies) faults.push("it has dependencies");
  for (const target of Object.values(exports).flatMap((entry) => (typeof entry === "string" ? entry : Object.values(entry)))) {
    if (!names.includes(target.slice(2))) faults.push(`${target} is exported and missing`);
  }
  if (faults.length) throw new Error(faults.join("\n"));
  return { tarball: `${place}/${filename}`, line: `${names.length} files, ${(size / 1024).toFixed(1)} KB packed` };
}
