import type { Platform } from "./platform.js";

/**
 * A part of the surroundings: the platform's, even where that says there is
 * none, or else the global one. May throw, as reading `localStorage` may.
 */
export function part<K extends keyof Platform>(platform: Platform | undefined, name: K): Platform[K] {
  if (platform && name in platform) return platform[name];
  const all = globalThis as any;
  if (name === "fetch" || name === "WebSocket") return all[name];
  // Node has channels, locks and storages as well: there, users of one server would meet in them.
  if (!all.document) return undefined as Platform[K];
  return name === "events" ? all : name === "locks" ? all.navigator.locks : all[name];
}

/** The events that tell that a page is there again, or its network. */
export const wakes = "visibilitychange pageshow online";

/** Epoch milliseconds. */
export function clock(platform: Platform | undefined): number {
  return (platform?.now ?? Date.now)();
}

/** From 0 up to, not including, 1. */
export function random(platform: Platform | undefined): number {
  return (platform?.random ?? Math.random)();
}

/** Listens for events, given with spaces between; the function ends it. */
export function listen(
  target: Pick<EventTarget, "addEventListener" | "removeEventListener"> | null | undefined,
  names: string,
  fn: (event: any) => void,
  options?: AddEventListenerOptions,
): () => void {
  const each = (change: "addEventListener" | "removeEventListener") => () =>
    names.split(" ").forEach((name) => target?.[change](name, fn, options));
  each("addEventListener")();
  return each("removeEventListener");
}
