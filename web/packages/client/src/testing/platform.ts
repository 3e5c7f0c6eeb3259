import type { Channel, Locks, Platform, WebSocketConstructor } from "../platform.js";
import { CookieJar } from "./cookies.js";
import { fetchFor, type Caps } from "./fetch.js";
import { LockTable } from "./locks.js";
import type { TestServer } from "./server.js";
import { Shelf, TestStorage } from "./storage.js";

/** What a browser profile is like. All of it has defaults. */
export interface TestPlatformConfig {
  /** The server that `fetch` and `WebSocket` of the tabs reach. Without one they have neither. */
  server?: TestServer;
  /** Where the pages are from. Default: the server's origin. */
  origin?: string;
  /** What tabs share of IndexedDB, such as an `IDBFactory` of fake-indexeddb. Default: none. */
  indexedDB?: IDBFactory;
  /** False: without Web Locks. */
  locks?: boolean;
  /** False: without BroadcastChannel, so that storage events are all there is. */
  broadcast?: boolean;
  /** From 0 up to, not including, 1. Default: `Math.random`. */
  random?: () => number;
}

/** A Platform of one tab, that can be ended. */
export interface TestTab extends Platform {
  readonly fetch: typeof fetch;
  readonly WebSocket: WebSocketConstructor;
  readonly localStorage: Storage;
  readonly sessionStorage: Storage;
  /** Dispatch `visibilitychange`, `online`, `pageshow` and input here. */
  readonly events: EventTarget;
  /**
   * Ends the tab as the browser does when it crashes: its locks are free, its
   * connections cut, and it hears and writes nothing any more. Timers of its
   * scripts can't be taken from them.
   */
  kill(): void;
}

interface TabState extends Caps {
  events: EventTarget;
  channels: Set<TestChannel>;
}

class TestChannel implements Channel {
  onmessage: ((event: { data: unknown }) => void) | null = null;
  readonly name: string;
  readonly #tab: TabState;
  readonly #all: () => TestChannel[];

  constructor(name: string, tab: TabState, all: () => TestChannel[]) {
    this.name = name;
    this.#tab = tab;
    this.#all = all;
    if (!tab.dead) tab.channels.add(this);
  }

  postMessage(message: unknown): void {
    if (this.#tab.dead) return;
    if (!this.#tab.channels.has(this)) throw new DOMException("the channel is closed", "InvalidStateError");
    const data: unknown = structuredClone(message);
    for (const other of this.#all()) {
      if (other === this || other.name !== this.name) continue;
      queueMicrotask(() => {
        if (other.#tab.channels.has(other)) other.onmessage?.({ data: structuredClone(data) });
      });
    }
  }

  close(): void {
    this.#tab.channels.delete(this);
  }
}

/** What the tabs of one browser profile share. */
export class TestPlatform {
  /** localStorage of all tabs: set `quota` or `blocked` to break it. */
  readonly storage = new Shelf();
  readonly cookies = new CookieJar();
  readonly origin: string;
  readonly #config: TestPlatformConfig;
  readonly #locks = new LockTable();
  readonly #tabs = new Set<TabState>();

  constructor(config: TestPlatformConfig = {}) {
    this.#config = config;
    this.origin = config.origin ?? new URL(config.server?.url ?? "http://holdfast.test").origin;
  }

  /** Whether some tab holds a lock. */
  locked(name: string): boolean {
    return this.#locks.held(name);
  }

  /** Opens a tab. */
  tab(): TestTab {
    const { server, indexedDB, locks = true, broadcast = true, random } = this.#config;
    const state: TabState = { events: new EventTarget(), channels: new Set(), dead: false, links: new Set() };
    this.#tabs.add(state);
    const alive = () => !state.dead;
    const shelf = this.storage;
    const local = new TestStorage(shelf, (key, before, value) => this.#stored(state, key, before, value), alive);
    const session = new TestStorage(new Shelf(), () => {}, alive);
    const open = (storage: Storage) => {
      if (shelf.blocked) throw new DOMException("storage is blocked", "SecurityError");
      return storage;
    };
    const channels = () => [...this.#tabs].flatMap((t) => [...t.channels]);
    const page = { jar: this.cookies, origin: this.origin, caps: state };
    const tab = {
      events: state.events,
      cookie: () => this.cookies.visible,
      kill: () => this.#kill(state),
      get localStorage() {
        return open(local);
      },
      get sessionStorage() {
        return open(session);
      },
      ...(server && { fetch: fetchFor(server, page), WebSocket: server.webSocketFor(page) }),
      ...(indexedDB && { indexedDB }),
      ...(random && { random }),
      ...(locks && { locks: this.#locks.of(state) as Locks }),
      ...(broadcast && {
        BroadcastChannel: class extends TestChannel {
          constructor(name: string) {
            super(name, state, channels);
          }
        },
      }),
    };
    return tab as TestTab;
  }

  /** Tells the other tabs. */
  #stored(by: TabState, key: string | null, oldValue: string | null, newValue: string | null): void {
    for (const tab of this.#tabs) {
      if (tab === by) continue;
      queueMicrotask(() => {
        if (tab.dead) return;
        tab.events.dispatchEvent(Object.assign(new Event("storage"), { key, oldValue, newValue }));
      });
    }
  }

  #kill(tab: TabState): void {
    tab.dead = true;
    tab.channels.clear();
    this.#tabs.delete(tab);
    for (const link of tab.links) link.cut();
    this.#locks.free(tab);
  }
}

/** Makes a browser profile for a test: see TestPlatform. */
export function createTestPlatform(config?: TestPlatformConfig): TestPlatform {
  return new TestPlatform(config);
}
