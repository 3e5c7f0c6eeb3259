// A page used by its keyboard alone.
import { createHmac } from "node:crypto";
import type { Locator, Page } from "playwright-core";
import { expect } from "vitest";

/** Goes on by Tab until something has the focus. Throws where the keyboard does not get there. */
export async function reach(target: Locator): Promise<void> {
  await target.waitFor();
  const page = target.page();
  for (let tries = 0; tries < 120; tries++) {
    if (await target.evaluate((element) => element === document.activeElement)) return;
    await page.keyboard.press("Tab");
  }
  throw new Error(`Tab does not reach ${target}`);
}

/** Waits until something has the focus. */
export const focused = (target: Locator) =>
  expect.poll(() => target.evaluateAll((found) => found.length === 1 && found[0] === document.activeElement)).toBe(true);

/** Presses a button or follows a link. A button that works does nothing, so that it is waited for. */
export async function press(target: Locator): Promise<void> {
  await reach(target);
  await expect.poll(() => target.and(target.page().locator("[aria-disabled=true]")).count()).toBe(0);
  await target.page().keyboard.press("Enter");
}

/** Types into a field, in place of what is there. */
export async function type(target: Locator, text: string): Promise<void> {
  await reach(target);
  const { keyboard } = target.page();
  await keyboard.press("ControlOrMeta+A");
  await keyboard.press("Delete");
  await keyboard.type(text);
}

/** Opens the user's menu, and takes an entry. */
export async function choose(page: Page, entry: string): Promise<void> {
  await press(page.getByRole("button", { name: /^Account of/ }));
  const items = page.getByRole("menu").locator("[role^=menuitem]");
  await focused(items.first());
  const at = (await items.allTextContents()).indexOf(entry);
  if (at < 0) throw new Error(`The menu has no “${entry}”`);
  for (let down = at; down > 0; down--) await page.keyboard.press("ArrowDown");
  await focused(items.nth(at));
  await page.keyboard.press("Enter");
}

/** The code of a second factor (RFC 6238) at a step of 30 seconds, counted from the present one. */
export function totp(secret: string, step = 0): string {
  const bits = [...secret].map((char) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(char).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from(bits.match(/.{8}/g)!.map((byte) => parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + step));
  const sum = createHmac("sha1", key).update(counter).digest();
  return String((sum.readUInt32BE(sum[19]! & 15) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}
