import type { Channel, Platform, StorageLike } from "../platform.js";
import type { AuthEvents, AuthConfig } from "../types.js";
import type { Emitter } from "../emitter.js";
import type { Kit } from "./lock.js";
import type { Session } from "./session.js";

/** What one tab tells the others. */
export interface Message {
  /** `look`: there is another session, in the storage or in `session`. */
  kind: "look" | "out" | "active";
  /** Not where the fallback carries it, which writes it down. */
  session?: Session | undefined;
  /** The access token before: whoever holds it too is concerned even without a shared storage. */
  was?: string | undefined;
  /** When the user was active. */
  at?: number;
}

/** A link to the other tabs, and a watch over whether the user does anything in any of them. */
export interface Tabs {
  post(message: Message): void;
  /** The user is active. */
  touch(): void;
  close(): void;
}

/** What the link needs of its AuthManager. */
export interface TabsHost {
  platform: Platform | undefined;
  events: Emitter<AuthEvents & { change: void }>;
  /** What the tabs share, if anything. */
  shared: () => StorageLike | undefined;
  held: () => Session | undefined;
  /** Looks at what is in the storage. */
  wake: () => void;
  takeOver: (session?: Session) => void;
}

/**
 * Opens the link. This module is loaded when an AuthManager starts. Where there
 * is no BroadcastChannel, messages go as storage events.
 */
export function openTabs(
  { tokenKey: key = "holdfast:tokens", crossTabSync: sync = true, channelName = key, cookie, inactivityTimeout: idle }: AuthConfig,
  { platform, events, shared, held, wake, takeOver }: TabsHost,
  { checked, clock, listen, parse, part, wakes }: Kit,
): Tabs {
  const stops: (() => void)[] = [];
  // Captured, since a scroll inside the page does not bubble.
  const follow = (names: string, fn: (e: any) => void) =>
    stops.push(listen(part(platform, "events"), names, fn, { capture: true, passive: true }));
  const storage = shared();
  const notes = key + ":note";
  let link: Channel | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let at = clock(platform); // of the last activity
  let sharedAt = at; // activity that the other tabs know of
  let told = false;

  const post = (message: Message) => {
    if (link) link.postMessage(message);
    else if (sync && storage) {
      try {
        // Another text each time, since the same one makes no event.
        storage.setItem(notes, JSON.stringify({ kind: message.kind, at: message.at, n: Math.random() }));
      } catch {
        // Full: what is kept tells the others as well.
      }
    }
  };

  const heard = (m?: Message) => {
    if (m?.kind === "active") {
      if (!(m.at! > at && m.at! <= clock(platform))) return;
      at = sharedAt = m.at!;
      told = false;
      return watch();
    }
    if (storage) wake();
    const mine = cookie || (held() && m?.was === held()!.access);
    // The storage decides where there is one. It may be late, and may never have had what this tab holds.
    if (m?.kind === "out" && (mine || (storage && !m.was))) takeOver();
    else if (!storage && mine && checked(m?.session)) takeOver(m!.session);
  };

  // Tells what is due, and sets the timer for what is due next.
  const watch = () => {
    clearTimeout(timer);
    if (!idle || !held() || told) return;
    const now = clock(platform);
    let next = idle - (now - at);
    if (next <= 0) {
      told = true;
      return events.emit("inactivity-timeout", { source: "self" });
    }
    if (at > sharedAt) {
      const rest = idle / 10 - (now - sharedAt);
      if (rest > 0) next = Math.min(next, rest);
      else post({ kind: "active", at: (sharedAt = at) });
    }
    timer = setTimeout(watch, Math.min(next, 86_400_000)); // a timer holds 24.8 days at most
  };

  const touch = () => {
    at = clock(platform);
    told = false;
    watch();
  };

  if (idle) {
    follow(wakes, watch);
    follow("mousemove keydown click touchstart scroll", () => {
      const passed = clock(platform) - at;
      // A clock that was set back proves nothing.
      if (passed >= 1000 || passed < -1000) touch();
    });
  }
  if (sync) {
    try {
      const make = part(platform, "BroadcastChannel");
      link = make && new make(channelName);
    } catch {
      // refused, as in some frames: the fallback is there
    }
    if (link) link.onmessage = (e) => heard(e.data as Message);
    if (storage) {
      follow("storage", (e: StorageEvent) => {
        if (e.key === notes && e.newValue) heard(parse(e.newValue));
        else if (!e.key || e.key === key) heard();
      });
      wake(); // what has changed while this code was loaded
    }
  }
  watch();
  return {
    post,
    touch,
    close() {
      clearTimeout(timer);
      link?.close();
      stops.forEach((stop) => stop());
    },
  };
}
