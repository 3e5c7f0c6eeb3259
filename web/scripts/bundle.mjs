// Bundles the built package as an application would, with esbuild.
import { build } from "esbuild";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

export const web = dirname(dirname(fileURLToPath(import.meta.url)));
export const client = `${web}/packages/client`;

/** How many bytes go over the wire. */
export const gzip = (contents) => gzipSync(contents, { level: 9 }).length;

/**
 * The bundle of an application that uses these names: [["module", ["name"]]].
 * `code` and `bytes` (gzip) are of what a page loads at first, `lazy` has the
 * chunks that are loaded when they are needed, by name, and `inputs` are the
 * files of which something came into the first part.
 */
export async function bundle(imports) {
  const lines = imports.map(([from, names]) => `import { ${names} } from ${JSON.stringify(from)};`);
  const result = await build({
    stdin: { contents: `${lines.join("\n")}\nglobalThis.app = [${imports.flatMap(([, names]) => names)}];`, resolveDir: web },
    bundle: true, minify: true, splitting: true, metafile: true, write: false, treeShaking: true,
    format: "esm", target: "es2022", outdir: "out", chunkNames: "[name]-[hash]", entryNames: "app",
    external: ["react"], define: { "process.env.NODE_ENV": '"production"' }, logLevel: "error", absWorkingDir: web,
  });
  const { outputs } = result.metafile;
  const contents = (path) => result.outputFiles.find((file) => file.path.endsWith(path.replace("out/", "/out/"))).contents;
  const first = new Set();
  const take = (path) => {
    if (first.has(path)) return;
    first.add(path);
    for (const { path: next, kind, external } of outputs[path].imports) if (kind === "import-statement" && !external) take(next);
  };
  take("out/app.js");
  const lazy = Object.keys(outputs).filter((path) => !first.has(path));
  return {
    bytes: [...first].reduce((sum, path) => sum + gzip(contents(path)), 0),
    code: [...first].map((path) => Buffer.from(contents(path)).toString()).join("\n"),
    inputs: [...first].flatMap((path) => Object.entries(outputs[path].inputs).filter(([, i]) => i.bytesInOutput > 0).map(([name]) => name)),
    lazy: Object.fromEntries(lazy.map((path) => [path.replace(/^out\/|-[A-Z0-9]{8}\.js$/g, ""), gzip(contents(path))])),
  };
}
