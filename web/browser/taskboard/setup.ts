// Builds once what the task board's tests use: its program, and its page as the
// sources have it now.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Project } from "../setup.js";

declare module "vitest" {
  interface ProvidedContext {
    /** The program of examples/taskboard. */
    taskboard: string;
    /** The program of many people on one board. */
    crowd: string;
    /** The folder with its page. */
    taskboardPage: string;
  }
}

const web = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

export default function setup(project: Project): () => void {
  const place = mkdtempSync(join(tmpdir(), "holdfast-taskboard-"));
  const [program, page] = [join(place, "taskboard"), join(place, "page")];
  const quiet = ["ignore", "ignore", "inherit"] as const;
  execFileSync("go", ["build", "-o", place, "./examples/taskboard", "./examples/taskboard/crowd"], { cwd: dirname(web), stdio: [...quiet] });
  execFileSync(process.execPath, [join(web, "taskboard/build.mjs"), "--out", page], { stdio: [...quiet] });
  project.provide("taskboard", program);
  project.provide("crowd", join(place, "crowd"));
  project.provide("taskboardPage", page);
  return () => rmSync(place, { recursive: true, force: true });
}
