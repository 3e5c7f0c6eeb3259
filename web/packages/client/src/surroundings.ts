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
  const page = all.document;
  if (!page) return undefined as Platform[K];
  if (name === "cookie") return (() => page.cookie) as Platform[K];
  return name === "events" ? all : name === "locks" ? all.navigator.locks : all[name];
}

/** Epoch milliseconds. */
export function clock(platform: Platform | undefined): number {
  return (platform?.now ?? Date.now)();
}

/** From 0 up to, not including, 1. */
export function random(platform: Platform | undefined): number {
  return (platform?.random ?? Math.random)();
}
