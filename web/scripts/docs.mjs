// The code that the manual and the README show.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { client, web } from "./bundle.mjs";

export const pages = { browser: `${web}/../docs/browser.md`, readme: `${client}/README.md` };

/**
 * The code blocks of a page: language, text, the heading that they are under as
 * its anchor, and a file name: that of a first line "// src/name.ts", or else a
 * number.
 */
export function blocks(page) {
  const found = [];
  let section = "top";
  let fence;
  let number = 0;
  for (const line of readFileSync(page, "utf8").split("\n")) {
    if (fence && line === "```") {
      const text = fence.lines.join("\n") + "\n";
      const file = /^\/\/ (\S+\.tsx?)\n/.exec(text)?.[1] ?? `${++number}.${fence.language}`;
      found.push({ language: fence.language, text, section, file });
      fence = undefined;
    } else if (fence) fence.lines.push(line);
    else if (line.startsWith("```")) fence = { language: line.slice(3), lines: [] };
    else if (/^#+ /.test(line)) section = line.replace(/^#+ /, "").toLowerCase().replace(/[^a-z0-9 -]/g, "").replaceAll(" ", "-");
  }
  return found;
}

/** Writes the TypeScript of all pages into `place`, a folder for each section. Says how many. */
export function write(place) {
  let count = 0;
  for (const [page, path] of Object.entries(pages)) {
    for (const { language, text, section, file } of blocks(path)) {
      if (!/^tsx?$/.test(language)) continue;
      count++;
      const target = `${place}/${page}/${section}/${file}`;
      mkdirSync(dirname(target), { recursive: true });
      // What imports and exports nothing would be a script, whose names are everybody's.
      writeFileSync(target, /^(import|export) /m.test(text) ? text : `${text}export {};\n`);
    }
  }
  return count;
}
