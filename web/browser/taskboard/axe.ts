import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Page } from "playwright-core";
import { expect } from "vitest";

const source = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** The sizes in which pages are looked at. */
export const sizes = { phone: { width: 390, height: 844 }, desktop: { width: 1280, height: 800 } };

/** What axe finds in a page as it is now, a line for each: its rule, and where. Best practices count, too. Default: by all rules. */
export async function violations(page: Page, rules?: string[]): Promise<string[]> {
  // By the debugger's way, which the page's policy does not concern.
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(source);
  const found: { id: string; nodes: { target: string[]; failureSummary?: string }[] }[] = await page.evaluate(
    async (rules) => (await (window as any).axe.run({ resultTypes: ["violations"], ...(rules && { runOnly: rules }) })).violations,
    rules,
  );
  return found.map(({ id, nodes }) => `${id}: ${nodes.map(({ target, failureSummary }) => `${target} (${failureSummary})`).join("; ")}`);
}

/** Expects that axe finds nothing, in both themes, on a phone and on a desktop. The page is as it was afterwards. */
export async function accessible(page: Page, what: string): Promise<void> {
  const before = page.viewportSize();
  for (const [size, viewport] of Object.entries(sizes)) {
    await page.setViewportSize(viewport);
    await theme(page, "light");
    expect(await violations(page), `${what}, ${size}, light`).toEqual([]);
    // A theme is colours, and nothing else.
    await theme(page, "dark");
    expect(await violations(page, ["color-contrast"]), `${what}, ${size}, dark`).toEqual([]);
  }
  await page.emulateMedia({ colorScheme: null, reducedMotion: null });
  if (before) await page.setViewportSize(before);
}

// Shows a theme, and waits until all of the page is drawn in it: axe takes its time, and would see both.
async function theme(page: Page, colorScheme: "light" | "dark"): Promise<void> {
  await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
  await page.waitForFunction((name) => matchMedia(`(prefers-color-scheme: ${name})`).matches, colorScheme);
  await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
}
