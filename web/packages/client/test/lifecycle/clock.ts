import { vi } from "vitest";

// Taken before anything is faked.
const immediate = setImmediate;

/** Lets everything happen that needs no time: microtasks, and what a database in memory does. */
export async function settle(): Promise<void> {
  // An immediate that is ours alone, three times in a row: nobody has anything left to do.
  for (let quiet = 0, rounds = 0; quiet < 3; ) {
    if (++rounds > 10_000) throw new Error("it does not settle");
    await new Promise<void>((resolve) => immediate(resolve));
    quiet = process.getActiveResourcesInfo().includes("Immediate") ? 0 : quiet + 1;
  }
}

const longest = 1_000_000_000; // ms; below what a timer takes

/** Lets time pass, timer by timer, and everything settle after each. */
export async function advance(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= longest) {
    let over = false;
    let fired = 0;
    setTimeout(() => (over = true), Math.min(left, longest));
    while (!over) {
      if (++fired > 50_000) throw new Error(`${fired} timers within ${ms} ms`);
      vi.advanceTimersToNextTimer();
      await settle();
    }
    vi.advanceTimersByTime(0); // what was set for the same instant
    await settle();
  }
}

export function useFakeClock(): void {
  vi.useFakeTimers({
    toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date"],
    now: Date.UTC(2026, 0, 1),
  });
}

/** Numbers that look random and are the same each time. */
export function dice(seed: number): () => number {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
