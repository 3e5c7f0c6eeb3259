"use client";
import { useEffect, useMemo, useState, useSyncExternalStore } from "react";
import type { HoldfastError } from "../errors.js";
import type {
  ConnectionState,
  EmitOptions,
  EventMeta,
  JoinOptions,
  Present,
  RealtimeSocket,
  Room,
  Unsubscribe,
} from "../types.js";
import { useLatest } from "./latest.js";
import { useRealtimeClient } from "./providers.js";
import type { Events } from "./types.js";

/** After the microtask: whoever joins in the same commit (StrictMode, another page with the room) keeps it joined. */
function release(room: Room<Events>): void {
  queueMicrotask(() => room.leave());
}

const away: ConnectionState = { state: "disconnected", connected: false, connecting: false, final: false };

/** Where the connection stands. On a server: disconnected. */
export function useConnectionState(): ConnectionState {
  const { socket } = useRealtimeClient();
  return useSyncExternalStore(
    useMemo(() => socket.subscribe.bind(socket), [socket]),
    () => socket.state,
    () => away,
  );
}

/** What useSocketClient gives. */
export interface SocketClient {
  /** For all else: handlers, publishing, the queue. */
  socket: RealtimeSocket<Events>;
  connected: boolean;
  connecting: boolean;
  emit(event: string, data?: unknown, options?: EmitOptions): Promise<void>;
  emitAck<T = any>(event: string, data?: unknown, options?: EmitOptions): Promise<T>;
  /** Holds a room until `leaveRoom`, or until this component goes. */
  joinRoom(room: string): Room<Events>;
  /** Ends this component's holds on a room; without a name, on all. Others may hold it further. */
  leaveRoom(room?: string): void;
}

/** The socket and its state. The functions are the same at each render, for as long as the client is. */
export function useSocketClient(): SocketClient {
  const { socket } = useRealtimeClient();
  const { connected, connecting } = useConnectionState();
  const actions = useMemo(() => {
    const holds = new Set<Room<Events>>();
    return {
      socket,
      emit: socket.emit.bind(socket),
      emitAck: socket.emitAck.bind(socket) as SocketClient["emitAck"],
      joinRoom(name: string) {
        const hold = socket.join<Events>(name);
        holds.add(hold);
        return hold;
      },
      leaveRoom: (name?: string) =>
        holds.forEach((hold) => (name ?? hold.name) === hold.name && holds.delete(hold) && release(hold)),
    };
  }, [socket]);
  useEffect(() => () => actions.leaveRoom(), [actions]);
  return { ...actions, connected, connecting };
}

/** Calls the handler for each event of this name, of whatever room. A new handler takes the old one's place by itself. */
export function useSocketEvent<K extends keyof Events & string>(
  event: K,
  handler: (data: Events[K], meta: EventMeta) => void,
): void {
  const { socket } = useRealtimeClient();
  const latest = useLatest(handler);
  useEffect(
    (): Unsubscribe => socket.on(event, (data, meta) => latest.current(data, meta)),
    [socket, event, latest],
  );
}

interface Hold<T> {
  value: T;
  room?: Room<Events> | undefined;
  typing(): void;
  move(data: unknown, key?: string): void;
}

/** Holds a room while a component is shown, with a value that `wire` changes. */
function useHold<T>(
  name: string,
  value: T,
  wire: (room: Room<Events>, set: (next: T) => void, hold: Hold<T>) => void,
  options?: JoinOptions,
  key?: string, // wire is the same for each hook, but for this
): Hold<T> {
  const { socket } = useRealtimeClient();
  const latest = useLatest(options);
  const [hold, open, get] = useMemo(() => {
    const hold: Hold<T> = {
      value,
      typing: () => hold.room?.typing(),
      move: (data, key) => hold.room?.signal("cursor", data, key),
    };
    const open = (changed: () => void) => {
      const set = (next: T) => {
        hold.value = next;
        changed();
      };
      const start = () => {
        const room = (hold.room = socket.join<Events>(name, latest.current));
        wire(room, set, hold);
        // Another user has signed in, who wants a hold of his own. The rooms are being cleared just now.
        room.onLeft((error) => error.code === "SIGNED_OUT" && queueMicrotask(() => hold.room === room && (set(value), start())));
      };
      start();
      return () => {
        release(hold.room!);
        hold.room = undefined;
      };
    };
    return [hold, open, () => hold.value] as const;
  }, [socket, name, key, latest]);
  useSyncExternalStore(open, get, get); // on a server, and until it is open, the value is the first one
  return hold;
}

const none: readonly never[] = [];
const outside = {};

/** Calls the handler for the events of this name in this room alone. The room is joined while the component is shown. */
export function useRoomEvent<K extends keyof Events & string>(
  room: string,
  event: K,
  handler: (data: Events[K], meta: EventMeta) => void,
): void {
  const latest = useLatest(handler);
  useHold(room, 0, (room) => room.on(event, (data, meta) => latest.current(data, meta)), undefined, event);
}

/** What useRoom gives. */
export interface RoomState {
  /** Absent on a server, and until the component is shown. */
  readonly room?: Room<Events> | undefined;
  /** It is so now: false without a connection. */
  readonly joined: boolean;
  /** Why it is not, and won't be: the server has refused it, or taken it away. */
  readonly error?: HoldfastError | undefined;
}

/** The room, joined while the component is shown. The options are those of the time when it joins. */
export function useRoom(room: string, options?: JoinOptions): RoomState {
  const { socket } = useRealtimeClient();
  const { connected } = useConnectionState();
  const [joined, arrive] = useState(false);
  const { value } = useHold<Omit<RoomState, "joined">>(
    room,
    outside,
    (room, set) => {
      set({ room });
      room.onLeft((error) => set({ room, error }));
    },
    options,
  );
  useEffect(() => {
    if (!connected || value.error) return;
    // A hold of its own, since the other's promise may have been settled by an end before this connection.
    const probe = socket.join<Events>(room);
    probe.joined.then(() => arrive(true)).catch(() => {});
    return () => {
      arrive(false);
      release(probe);
    };
  }, [socket, connected, room, value]);
  return { ...value, joined };
}

/** Who is in the room, this user as well. A new array at each change. */
export function usePresence(room: string): readonly Present[] {
  return useHold<readonly Present[]>(room, none, (room, set) => {
    const take = () => set(room.present);
    room.onPresence(take);
    take();
  }).value;
}

/** What useTyping gives. */
export interface Typing {
  /** Who types now. */
  typing: readonly Present[];
  /** May be called at each key. */
  notify: () => void;
}

/** Who types in the room. */
export function useTyping(room: string): Typing {
  const hold = useHold<readonly Present[]>(room, none, (room, set, hold) =>
    room.onTyping((user, typing) => {
      const others = hold.value.filter((other) => other.id !== user.id);
      set(typing ? [...others, user] : others);
    }),
  );
  return { typing: hold.value, notify: hold.typing };
}

/** Where a user points, or whatever he sends as `move` does. */
export interface Cursor<T = any> {
  /** The user's id. */
  id: string;
  /** Tells cursors of one user apart. */
  key?: string | undefined;
  data: T;
}

/** What useCursors gives. */
export interface Cursors<T = any> {
  /** Those of the others, each where it was last. A user who leaves the room takes his along. */
  cursors: readonly Cursor<T>[];
  /** May be called at each movement: at most one every 100 ms goes out. */
  move: (data: T, key?: string) => void;
}

/** Cursors, selections and the like, of those who are in the room now. */
export function useCursors<T = any>(room: string): Cursors<T> {
  const hold = useHold<readonly Cursor<T>[]>(room, none, (room, set, hold) => {
    const others = (id: string, key?: string) =>
      hold.value.filter((cursor) => cursor.id !== id || (key && cursor.key !== key));
    room.onSignal<T>("cursor", (data, { from, key }) => set([...others(from, key).slice(-999), { id: from, key, data }]));
    // After a reconnect, who has gone meanwhile is not told of; those who are there move again.
    room.onPresence((event) =>
      set(event.kind === "sync" ? none : event.kind === "leave" ? others(event.user.id) : hold.value),
    );
  });
  return { cursors: hold.value, move: hold.move };
}
