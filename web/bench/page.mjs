// Builds the page with the clients in it, each minified by itself as an
// application would bundle it, and says how large they are.
import { readFileSync } from "node:fs";
import { build } from "esbuild";
import { bundle, client, web } from "../scripts/bundle.mjs";

/** The clients in the order of the tables; ours is the first. */
export const clients = {
  holdfast: ["@holdfast/client", ["createRealtimeClient"]],
  socketio: ["socket.io-client", ["io"]],
  centrifuge: ["centrifuge", ["Centrifuge"]],
};

/** `@holdfast/client 0.1.0` and the like, by name. */
export const versions = () =>
  Object.fromEntries(
    Object.entries(clients).map(([name, [from]]) => {
      const folder = name === "holdfast" ? client : `${web}/node_modules/${from}`;
      return [name, `${from} ${JSON.parse(readFileSync(`${folder}/package.json`, "utf8")).version}`];
    }),
  );

/** Bytes, gzip, of what a page loads at first, and with what it loads later when it is needed. */
export async function sizes() {
  const all = {};
  for (const [name, imports] of Object.entries(clients)) {
    const { bytes, lazy } = await bundle([imports]);
    all[name] = { first: bytes, all: bytes + Object.values(lazy).reduce((a, b) => a + b, 0) };
  }
  return all;
}

/** The page's files by their path. Not minified, functions keep their names. */
export async function pageFiles({ minify = true } = {}) {
  const files = {};
  const script = (path, contents) => (files[path] = { type: "text/javascript", contents });
  for (const name of Object.keys(clients)) {
    const { outputFiles } = await build({
      entryPoints: [`${web}/bench/clients/${name}.js`], outdir: `/${name}`, bundle: true, minify, splitting: true,
      write: false, format: "esm", target: "es2022", define: { "process.env.NODE_ENV": '"production"' }, logLevel: "error",
      absWorkingDir: web,
    });
    for (const { path, contents } of outputFiles) script(path, Buffer.from(contents));
  }
  script("/page.js", readFileSync(`${web}/bench/clients/page.js`));
  const imports = Object.keys(clients).map((name) => `import { open as ${name} } from "/${name}/${name}.js";`);
  const contents = `<!doctype html><meta charset="utf-8"><title>bench</title><link rel="icon" href="data:,"><script type="module">
import "/page.js";
${imports.join("\n")}
Object.assign(bench.clients, { ${Object.keys(clients).join(", ")} });
</script>`;
  files["/"] = { type: "text/html", contents };
  return files;
}
