import { build, type Plugin } from "esbuild";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path/posix";
import { fileURLToPath, pathToFileURL } from "node:url";
import { blocks, pages } from "../../../../scripts/docs.mjs";

const web = fileURLToPath(new URL("../../../..", import.meta.url));

/**
 * Loads files of a recipe in docs/browser.md as modules, anew each time. The
 * package is its sources; `standIns` is the code of modules that are not
 * installed, by name.
 */
export async function load(section: string, wanted: string[], standIns: Record<string, string> = {}): Promise<any[]> {
  const files = new Map<string, string>();
  for (const one of blocks(pages.browser)) if (one.section === section) files.set(one.file, one.text);
  const entry = "entry.ts";
  files.set(entry, wanted.map((file, i) => `export * as m${i} from "./${file}";`).join("\n"));
  const recipe: Plugin = {
    name: "recipe",
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^@holdfast\/client/ }, ({ path }) => ({
        path: join(web, "packages/client/src", path.replace("@holdfast/client", ""), "index.ts"),
      }));
      onResolve({ filter: /.*/ }, ({ path, importer, namespace }) => {
        if (Object.hasOwn(standIns, path)) return { path, namespace: "stand-in" };
        if (path === entry && !importer) return { path, namespace: "recipe" };
        if (namespace !== "recipe" || !path.startsWith(".")) return;
        const found = ["", ".ts", ".tsx"].map((end) => join(dirname(importer), path) + end).find((name) => files.has(name));
        return found ? { path: found, namespace: "recipe" } : { errors: [{ text: `the recipe has no ${path}` }] };
      });
      onLoad({ filter: /.*/, namespace: "recipe" }, ({ path }) => ({ contents: files.get(path)!, loader: "tsx", resolveDir: web }));
      onLoad({ filter: /.*/, namespace: "stand-in" }, ({ path }) => ({ contents: standIns[path]!, loader: "js", resolveDir: web }));
    },
  };
  const made = await build({
    entryPoints: [entry], bundle: true, write: false, outdir: "/out", format: "esm", platform: "node", jsx: "automatic",
    packages: "external", plugins: [recipe], logLevel: "silent", absWorkingDir: web,
  });
  // Below web, where React is found.
  mkdirSync(`${web}/node_modules/.recipes`, { recursive: true });
  const place = mkdtempSync(`${web}/node_modules/.recipes/`);
  try {
    writeFileSync(`${place}/recipe.mjs`, made.outputFiles[0]!.text);
    const all = await import(/* @vite-ignore */ pathToFileURL(`${place}/recipe.mjs`).href);
    return wanted.map((_, i) => all[`m${i}`]);
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}
