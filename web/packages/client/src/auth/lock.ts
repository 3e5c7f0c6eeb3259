import { reason, sleep } from "../abort.js";
import type { Platform, StorageLike } from "../platform.js";
import { parse } from "../refusal.js";
import { clock, listen, part, wakes } from "../surroundings.js";
import { checked, type Session } from "./session.js";

/** What the code that is loaded later is given, as it imports nothing of the core. */
export const kit = { checked, clock, listen, parse, part, sleep, wakes };
export type Kit = typeof kit;

/**
 * Runs what one tab at a time may do: under a Web Lock, which ends with its
 * tab, or else a lease in a storage that the tabs share; without either, at
 * once. The signal ends the waiting. `old`: the session that is to be replaced,
 * if there is one and its tabs tell each other what replaces it.
 *
 * Storage and channels take a while to reach tabs in other processes, locks
 * come by a way of their own. So that nobody replaces a session that is no
 * more, each has a lock as well that stays for seconds when all is done. Who
 * waits there is told of the new session meanwhile, and its signal aborts; who
 * knows that asks for another name. A lease needs none: who reads of its end
 * reads what was written before.
 */
export async function locked(
  platform: Platform | undefined,
  name: string,
  storage: StorageLike | undefined,
  signal: AbortSignal,
  run: () => Promise<void>,
  old?: Session | false,
): Promise<void> {
  let began = false;
  const begin = () => ((began = true), run());
  try {
    const locks = part(platform, "locks");
    if (locks)
      await locks.request(`${name}:${old && old.n}`, { signal }, async () => {
        await locks.request(name, { signal }, begin);
        await sleep(old ? 5000 : 100);
      });
    else if (storage) await (await import("./lease.js")).lease(kit, platform, name, storage, signal, begin);
    else await begin();
  } catch (e) {
    if (began) throw e;
    if (signal.aborted) throw reason(signal);
    // Locks are refused to some frames, storage may be full, and a lease's code out of reach: this tab is on its own.
    await run();
  }
}
