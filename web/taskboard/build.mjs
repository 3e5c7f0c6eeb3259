// Builds the page into examples/taskboard/page, where its Go program embeds it.
// The files have fixed names and are committed, so that `go run` needs no Node.
// manifest.json has the hashes of all that they were made of, which a Go test
// compares, and of themselves. With --check nothing is written: what is there
// must be what would be written. With --out DIR it goes there.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const root = dirname(dirname(here));
const flag = process.argv.indexOf("--out");
const out = flag > 0 ? resolve(process.argv[flag + 1]) : join(root, "examples/taskboard/page");
const check = process.argv.includes("--check");
const inputs = ({ path }) => Object.keys(metafile.outputs[relative(root, path)].inputs).join();

const { outputFiles, metafile } = await build({
  entryPoints: { app: join(here, "src/main.tsx") },
  bundle: true, splitting: true, minify: true, write: false, metafile: true, format: "esm", target: "es2022",
  outdir: out, absWorkingDir: root, chunkNames: "[name]-[hash]", legalComments: "eof", jsx: "automatic",
  alias: {
    "@holdfast/client": join(root, "web/packages/client/src/index.ts"),
    "@holdfast/client/react": join(root, "web/packages/client/src/react/index.ts"),
  },
  define: { "process.env.NODE_ENV": '"production"' },
});

const sha256 = (data) => createHash("sha256").update(data).digest("hex");
// Several chunks may have one name, and are told apart by a hash. Fixed names tell them apart by their order.
const names = new Map();
for (const { path } of outputFiles.toSorted((a, b) => (inputs(a) < inputs(b) ? -1 : 1))) {
  const name = relative(out, path);
  const plain = name.replace(/-[A-Z0-9]{8}(?=\.js$)/, "");
  const taken = [...names.values()].filter((other) => other.replace(/\d*\.js$/, ".js") === plain).length;
  names.set(name, taken ? plain.replace(".js", `${taken + 1}.js`) : plain);
}
const files = new Map(outputFiles.map(({ path, text }) => {
  for (const [name, fixed] of names) text = text.replaceAll(`"./${name}"`, `"./${fixed}"`);
  return [names.get(relative(out, path)), Buffer.from(text)];
}));
for (const name of ["index.html", "theme.js"]) files.set(name, readFileSync(join(here, name)));
const sources = [
  ...Object.keys(metafile.inputs).filter((path) => !path.includes("node_modules")),
  "web/taskboard/build.mjs", "web/taskboard/index.html", "web/taskboard/theme.js", "web/package-lock.json",
].sort();
const byName = (entries) => Object.fromEntries([...entries].sort(([a], [b]) => (a < b ? -1 : 1)));
const manifest = {
  sources: byName(sources.map((path) => [path, sha256(readFileSync(join(root, path)))])),
  built: byName([...files].map(([name, contents]) => [name, sha256(contents)])),
};
files.set("manifest.json", Buffer.from(`${JSON.stringify(manifest, null, 1)}\n`));

if (check) {
  const there = readdirSync(out).sort();
  const stale = [...files].filter(([name, contents]) => !there.includes(name) || !readFileSync(join(out, name)).equals(contents));
  const strange = there.filter((name) => !files.has(name));
  if (stale.length || strange.length) {
    throw new Error(`examples/taskboard/page is stale (${[...stale.map(([name]) => name), ...strange].join(", ")}): cd web && npm run build --workspace @holdfast/taskboard`);
  }
} else {
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  for (const [name, contents] of files) writeFileSync(join(out, name), contents);
}
const total = [...files.values()].reduce((sum, contents) => sum + contents.length, 0);
console.log(`page ${check ? "is as built" : "built"}: ${files.size} files, ${Math.round(total / 1024)} KB`);
