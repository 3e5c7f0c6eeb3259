import { reason, sleep } from "../abort.js";
import type { Platform, StorageLike } from "../platform.js";
import { clock, part } from "../surroundings.js";

/** How long a lease lasts whose tab was killed, in milliseconds. */
const lease = 10_000;

/**
 * Runs what one tab at a time may do: under a Web Lock, which ends with its
 * tab, or else a lease in a storage that the tabs share; without either, at
 * once. The signal ends the waiting.
 */
export async function locked(
  platform: Platform | undefined,
  name: string,
  storage: StorageLike | undefined,
  signal: AbortSignal,
  run: () => Promise<void>,
): Promise<void> {
  const mine = `${Math.random()} `;
  let began = false;
  const begin = () => ((began = true), run());
  try {
    const locks = part(platform, "locks");
    if (locks) return await locks.request(name, { signal }, begin);
    for (let wrote = false; storage; ) {
      const text = storage.getItem(name) ?? "";
      if (wrote && text.startsWith(mine)) break;
      const left = +text.split(" ")[1]! - clock(platform);
      // Garbage, or what a wrong clock has written, holds nobody up.
      if ((wrote = !(left > 0 && left <= lease))) storage.setItem(name, mine + (clock(platform) + lease));
      // Two tabs may have written at once: the one whose text stays has it.
      await sleep(50 + 50 * Math.random(), signal);
    }
    await begin();
  } catch (e) {
    if (began) throw e;
    if (signal.aborted) throw reason(signal);
    // Locks are refused to some frames, and storage may be full: then this tab is on its own.
    await run();
  } finally {
    try {
      if (storage?.getItem(name)?.startsWith(mine)) storage.removeItem(name);
    } catch {
      // it ends by itself
    }
  }
}
