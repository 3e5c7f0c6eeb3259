import type { Kit } from "./lock.js";
import type { Platform, StorageLike } from "../platform.js";

/** How long a lease lasts whose tab was killed, in milliseconds. */
const lasts = 10_000;

/**
 * Runs what one tab at a time may do under a lease in a storage that the tabs
 * share. This module is loaded where there are no Web Locks. It rejects as
 * `run` does, or where there is no way to a lease.
 */
export async function lease(
  { clock, sleep }: Kit,
  platform: Platform | undefined,
  name: string,
  storage: StorageLike,
  signal: AbortSignal,
  run: () => Promise<void>,
): Promise<void> {
  const mine = `${Math.random()} `;
  try {
    for (let wrote = false; ; ) {
      const text = storage.getItem(name) ?? "";
      if (wrote && text.startsWith(mine)) break;
      const left = +text.split(" ")[1]! - clock(platform);
      // Garbage, or what a wrong clock has written, holds nobody up.
      if ((wrote = !(left > 0 && left <= lasts))) storage.setItem(name, mine + (clock(platform) + lasts));
      // Two tabs may have written at once: the one whose text stays has it. In a busy
      // browser it takes a while until each sees what the other has written.
      await sleep((wrote ? 200 : 50) * (1 + Math.random() / 2), signal);
    }
    await run();
  } finally {
    try {
      if (storage.getItem(name)?.startsWith(mine)) storage.removeItem(name);
    } catch {
      // it ends by itself
    }
  }
}
