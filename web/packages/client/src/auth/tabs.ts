import type { Channel, Platform, StorageLike } from "../platform.js";
import { parse } from "../refusal.js";
import { listen, part, wakes } from "../surroundings.js";
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

/** A link to the other tabs, and to what happens to this one. */
export interface Tabs {
  post(message: Message): void;
  close(): void;
}

export interface TabsConfig {
  platform: Platform | undefined;
  /** The key of the session in the storage. */
  key: string;
  /** Undefined: other tabs are not listened to. */
  channel: string | undefined;
  /** What the tabs share, if anything. */
  storage: StorageLike | undefined;
  /** Undefined: the storage has changed. */
  heard: (message?: Message) => void;
  /** The tab is seen again, or the network is there. */
  woken: () => void;
  /** The user does something; undefined: nobody wants to know. */
  active: (() => void) | undefined;
}

/** Opens the link. Where there is no BroadcastChannel, messages go as storage events. */
export function openTabs({ platform, key, channel, storage, heard, woken, active }: TabsConfig): Tabs {
  const stops: (() => void)[] = [];
  // Captured, since a scroll inside the page does not bubble.
  const follow = (names: string, fn: (e: any) => void) =>
    stops.push(listen(part(platform, "events"), names, fn, { capture: true, passive: true }));
  follow(wakes, woken);
  if (active) follow("mousemove keydown click touchstart scroll", active);
  let link: Channel | undefined;
  const notes = key + ":note";
  if (channel) {
    try {
      const make = part(platform, "BroadcastChannel");
      link = make && new make(channel);
    } catch {
      // refused, as in some frames: the fallback is there
    }
    if (link) link.onmessage = (e) => heard(e.data as Message);
    if (storage) {
      follow("storage", (e: StorageEvent) => {
        if (e.key === notes && e.newValue) heard(parse(e.newValue));
        else if (!e.key || e.key === key) heard();
      });
    }
  }
  return {
    post(message) {
      if (link) link.postMessage(message);
      else if (channel && storage) {
        try {
          // Another text each time, since the same one makes no event.
          storage.setItem(notes, JSON.stringify({ kind: message.kind, at: message.at, n: Math.random() }));
        } catch {
          // Full: what is kept tells the others as well.
        }
      }
    },
    close() {
      link?.close();
      stops.forEach((stop) => stop());
    },
  };
}
