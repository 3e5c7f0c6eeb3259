// Builds once what all tests in the browser use: the servers, and the pages
// with the built client.
import { build } from "esbuild";
import { execFileSync } from "node:child_process";
import { accessSync, constants, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ProvidedContext } from "vitest";

declare module "vitest" {
  interface ProvidedContext {
    /** The program with the servers. */
    stage: string;
    /** The folder with the pages. */
    pages: string;
    /** The browser. */
    chromium: string;
  }
}

/** What a setup needs of Vitest's TestProject, whose own types are of all that Vitest knows. */
export interface Project {
  provide: <K extends keyof ProvidedContext>(key: K, value: ProvidedContext[K]) => void;
}

const web = dirname(dirname(fileURLToPath(import.meta.url)));

function findChromium(): string {
  for (const name of ["chromium", "chromium-browser", "google-chrome"])
    for (const folder of (process.env["PATH"] ?? "").split(delimiter)) {
      try {
        accessSync(join(folder, name), constants.X_OK);
        return join(folder, name);
      } catch {
        // the next one
      }
    }
  throw new Error("Chromium is missing. Run: sudo apt-get install chromium");
}

const page = (module: string, script = `<script type="module" src="${module}.js"></script>`) =>
  `<!doctype html><html lang="en"><head><meta charset="utf-8"><link rel="icon" href="data:,"><title>${module}</title></head>` +
  `<body>${script}</body></html>\n`;

export default async function setup(project: Project): Promise<() => void> {
  const chromium = findChromium();
  const place = mkdtempSync(join(tmpdir(), "holdfast-browser-"));
  const pages = join(place, "pages");
  const stage = join(place, "browserstage");
  mkdirSync(pages);
  execFileSync("go", ["build", "-o", stage, "./internal/browserstage"], { cwd: dirname(web), stdio: ["ignore", "ignore", "inherit"] });
  // Who has just built the package says so.
  if (!process.env["HOLDFAST_BUILT"])
    execFileSync("npm", ["run", "build", "--silent", "--workspace", "@holdfast/client"], { cwd: web, stdio: ["ignore", "ignore", "inherit"] });
  const options = { bundle: true, outdir: pages, target: "es2022", logLevel: "error", absWorkingDir: web } as const;
  const define = { "process.env.NODE_ENV": '"development"' };
  // Types come from the sources (tsconfig.json), the code from dist, as an application gets it.
  const tsconfigRaw = {};
  await build({
    ...options, define, tsconfigRaw,
    entryPoints: ["browser/pages/page.ts", "browser/pages/react.ts"], format: "esm", splitting: true, chunkNames: "[name]-[hash]",
  });
  await build({ ...options, tsconfigRaw, entryPoints: { whole: "browser/pages/page.ts" }, format: "iife" });
  writeFileSync(join(pages, "index.html"), page("page"));
  writeFileSync(join(pages, "react.html"), page("react", '<script type="module" src="page.js"></script><script type="module" src="react.js"></script>'));
  writeFileSync(join(pages, "blank.html"), page("blank", ""));
  project.provide("chromium", chromium);
  project.provide("pages", pages);
  project.provide("stage", stage);
  return () => rmSync(place, { recursive: true, force: true });
}
