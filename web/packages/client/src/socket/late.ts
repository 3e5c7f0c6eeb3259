import { until } from "../abort.js";
import type { HoldfastError } from "../errors.js";
import type { JoinOptions, Position, Room } from "../types.js";
import { kit } from "./kit.js";
import type { Link } from "./link.js";
import type { Rooms, RoomsCore } from "./rooms.js";

/**
 * The rooms of a socket, whose code is loaded by the first join. What they are
 * told until it is there is told then, in its order; a load that fails is
 * tried again, while the socket runs.
 */
export function lateRooms(core: RoomsCore, up: () => Link | undefined, runs: () => unknown) {
  let rooms: Rooms | undefined;
  let waiting: ((rooms: Rooms) => void)[] | undefined; // undefined: nobody has joined
  let loading: Promise<void> | undefined;
  let misses = 0;
  let retry: ReturnType<typeof setTimeout> | undefined;
  const unjoined: ((error: HoldfastError) => void)[] = []; // who waits to join, till then

  const tell = (fn: (rooms: Rooms) => void) => void (rooms ? fn(rooms) : waiting?.push(fn));

  const load = () => {
    if (rooms || !waiting) return;
    loading ??= import("./rooms.js").then(
      (m) => {
        loading = undefined;
        rooms = m.createRooms(core, kit);
        for (const fn of waiting!) fn(rooms);
      },
      () => {
        loading = undefined;
        if (runs()) retry = setTimeout(load, core.backoff(++misses)); // else the next connection tries
      },
    );
  };

  // A room whose code is still on its way: does then what it was asked for.
  const lateRoom = (name: string, options?: JoinOptions): Room => {
    let real: any;
    const link = up();
    waiting ??= link ? [(r) => r.up(link)] : [];
    const joined = new Promise<Position>((resolve, reject) => {
      unjoined.push(reject);
      tell((r) => resolve((real = r.join(name, options)).joined));
    });
    joined.catch(() => {}); // onLeft tells it too
    load();
    const room: any = {
      ...core.rest(name),
      name,
      joined,
      get position() {
        return real?.position;
      },
      get present() {
        return real?.present ?? core.none;
      },
    };
    for (const method of "on onAny onReset onLeft onPresence onTyping onSignal signal typing setPresence leave".split(" "))
      room[method] = (...args: unknown[]) => {
        if (real) return real[method](...args);
        let off: any;
        const done = new Promise((resolve) => tell(() => resolve((off ??= real[method](...args)))));
        // A handler may be taken back before there is a room that has it.
        return method[1] === "n" ? () => void (off ? off() : (off = 0)) : done;
      };
    return room;
  };

  return {
    tell,
    load,
    /** What is sent after a join waits for it, unless its code can't be loaded. Undefined: there is nothing to wait for. */
    before: (signal?: AbortSignal) => loading && until(loading, signal),
    /** As that of rooms: until they are there no event is theirs. */
    take: (...event: Parameters<Rooms["take"]>) => (rooms ? rooms.take(...event) : () => {}),
    join: (name: string, options?: JoinOptions) => (rooms?.join ?? lateRoom)(name, options),
    /** It won't connect again by itself: nobody waits for a join any more. */
    stopped(error: HoldfastError) {
      clearTimeout(retry);
      tell((r) => r.stopped(error));
      for (const fn of unjoined.splice(0)) fn(error);
    },
  };
}
