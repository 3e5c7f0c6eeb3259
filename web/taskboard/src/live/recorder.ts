// Watches the client's public events, and keeps what they say as a story.
import type { AuthManager, ConnectionState, EventMeta, Position, RealtimeSocket } from "@holdfast/client";
import type { Change } from "../types.js";
import { watchQueue } from "./edits.js";
import type { Network } from "./network.js";
import { amend, tell, type Story, type Told } from "./story.js";
import { count, duration, reason } from "./words.js";

/** What the light and the panel show. A new object at each change. */
export interface Record {
  story: Story;
  /** Attempts that failed since it was last connected. */
  failures: number;
  /** Tokens that were renewed on the present connection. */
  renewals: number;
  /** Epoch milliseconds of when the present connection began. */
  since: number | undefined;
  /** There is a network, as far as is known. */
  online: boolean;
}

/** A story that goes on. */
export interface Recorder {
  get: () => Record;
  subscribe: (changed: () => void) => () => void;
  /** Watches until the returned function is called. */
  start: () => () => void;
  /** The page shows another board. */
  moved: () => void;
}

/** What a recorder needs of a client. */
export interface Watched {
  auth: Pick<AuthManager, "on" | "getUser">;
  socket: RealtimeSocket<any>;
}

/** Watches a client. `room` is the room of the board that the page shows. */
export function record(client: Watched, room: () => string | undefined, net: Network, now = Date.now): Recorder {
  const { auth, socket } = client;
  const listeners = new Set<() => void>();
  let value: Record = { story: [], failures: 0, renewals: 0, since: undefined, online: net.get() };
  let next = 1;
  let user = "";
  let before: ConnectionState = socket.state;
  let lostAt: number | undefined;
  let drop = () => {}; // the hold that waits for a join
  const known = new Map<string, Position>(); // where each room's events stood

  const set = (change: Partial<Record>) => {
    value = { ...value, ...change };
    for (const changed of listeners) changed();
  };
  const say = (told: Told): number => {
    const id = next++;
    set({ story: tell(value.story, told, id, now()) });
    return value.story[0]!.id;
  };

  // What came between two connections: all events that a room had meanwhile
  // come before its join is acknowledged, in order, each with its offset.
  const rejoin = (entry?: number, away?: number) => {
    drop();
    const name = room();
    if (!name) return;
    const base = known.get(name);
    const hold = socket.join(name);
    let reset = false;
    let came = 0;
    hold.onReset(() => (reset = true));
    hold.onAny((_, __, meta) => void (meta.offset !== undefined && came++));
    const release = () => queueMicrotask(() => hold.leave());
    drop = release;
    hold.joined.then(
      (at) => {
        drop = () => {};
        release();
        if (known.size > 99) known.clear();
        known.set(name, at);
        if (entry === undefined || !base) return;
        const words = caughtUp(reset || base.epoch !== at.epoch ? undefined : at.offset - base.offset, came);
        set({ story: amend(value.story, entry, { ...words, title: `Reconnected after ${duration(away!)}${words.title}` }) });
      },
      () => {}, // refused: the board says so
    );
  };

  const stateChanged = () => {
    const { state } = socket;
    const was = before;
    before = state;
    if (state.connected && !was.connected) {
      set({ failures: 0, renewals: 0, since: now() });
      const polling = state.transport === "polling";
      if (lostAt === undefined) {
        say({
          kind: "connected", title: "Connected", tone: "good",
          why: "One connection for the whole page. It carries every change, who is here, and new tokens.",
        });
        rejoin();
      } else {
        const away = now() - lostAt;
        const entry = say({
          kind: "reconnected", title: `Reconnected after ${duration(away)}`, tone: "good", alone: true, said: true,
          why: "The page came back by itself.",
        });
        lostAt = undefined;
        rejoin(entry, away);
      }
      if (polling)
        say({
          kind: "polling", title: "No WebSocket here: polling instead", tone: "warn",
          why: "Something between you and the server stops WebSockets. Plain HTTP carries the same events, and a WebSocket is tried again later.",
        });
    } else if (was.connected && !state.connected) {
      drop();
      set({ since: undefined, renewals: 0 });
      const { error } = state;
      if (state.state === "closed" || error?.code === "SIGNED_OUT" || error?.code === "SESSION_REVOKED") return void (lostAt = undefined);
      lostAt = now();
      say({
        kind: "lost", alone: true, said: true, tone: "warn",
        title: error?.code === "GOING_AWAY" ? "The server says that it goes away" : "The connection was lost",
        why: `${error ? reason(error) : ""} What you change now is kept in this browser, and sent later.`.trim(),
      });
      edits.stuck();
    } else if (state.connecting && state.error && state !== was) set({ failures: value.failures + 1 });
  };

  const refreshed = (remote: boolean) => {
    const { session } = socket;
    const entry = say({
      kind: remote ? "refresh-remote" : "refresh", tone: "good",
      title: (times) => `${remote ? "Another tab renewed the token" : "The token was renewed"}${times > 1 ? ` (${times} times in a row)` : ""}`,
      why: remote ? "Tabs share one session: one of them asks the server, all have the new token." : "Tokens are short-lived, so that a stolen one is soon worthless.",
    });
    if (session) inPlace(entry, session.connection, session.expiresAt);
  };

  // The connection has taken the new token when its end has moved, and it is the same connection.
  const inPlace = (entry: number, connection: string, end: number, tries = 25) => {
    const { session } = socket;
    if (session?.connection !== connection) return;
    if (session.expiresAt > end) {
      const renewals = value.renewals + 1;
      const times = count(renewals, "renewal");
      set({
        renewals,
        story: amend(value.story, entry, { why: `The connection did not notice: it is the same one, after ${times}. Nothing was interrupted.` }),
      });
    } else if (tries) later.add(setTimeout(() => inPlace(entry, connection, end, tries - 1), 200));
  };
  const later = new Set<ReturnType<typeof setTimeout>>();

  const heard = (event: string, [data, meta]: unknown[]) => {
    const { room, epoch, offset, id } = (meta ?? {}) as EventMeta;
    if (room && epoch !== undefined && offset !== undefined) {
      if (known.size > 99) known.clear();
      known.set(room, { epoch, offset });
      if (id) edits.seen(id);
    }
    if (event === "member_updated") rightChanged(data as Change);
    if (event === "room:left") roomLeft(data as { code?: string });
  };

  const networkChanged = () => {
    const online = net.get();
    set({ online });
    if (online) return;
    say({
      kind: "offline", alone: true, tone: "warn", title: "This device has no network",
      why: "A connection that is cut so looks open for a while. What you change now is kept in this browser, and sent later.",
    });
    edits.stuck();
  };

  const rightChanged = ({ member, by }: Change) => {
    if (!member || member.id !== auth.getUser()?.id) return;
    const right = { owner: "You own this board", editor: "You may change this board now", viewer: "You may only look at this board now" }[member.role];
    say({
      kind: "right", alone: true, said: true, tone: "warn", title: right,
      why: `${by.name || "The owner"} changed it just now. Rights hold at once, also on connections that are open.`,
    });
  };

  const roomLeft = ({ code }: { code?: string }) =>
    void (code === "FORBIDDEN" &&
      say({
        kind: "right", alone: true, said: true, tone: "bad", title: "You are no longer on this board",
        why: "The server took the room away from this connection in the moment when the right ended.",
      }));

  const edits = watchQueue(socket, net, () => auth.getUser()?.id, say);

  const start = () => {
    before = socket.state;
    const offs = [
      auth.on("sign-in", ({ user: who, source }) => {
        if (who?.id !== user) known.clear();
        // What somebody else did here is none of this one's business.
        if (user && who?.id !== user) value = { ...value, story: [] };
        user = who?.id ?? "";
        lostAt = undefined;
        say({
          kind: "sign-in", tone: "good", alone: true,
          title: source === "remote" ? "Signed in, in another tab" : `Signed in${who?.name ? ` as ${who.name}` : ""}`,
          why: "The session is in a cookie that no script can read. The token for calls is in memory alone.",
        });
        edits.stuck(); // what waits since the last visit
      }),
      auth.on("sign-out", ({ source, error }) =>
        void say({
          kind: "sign-out", alone: true, said: true, tone: error ? "bad" : "quiet",
          title: error?.code === "SESSION_REVOKED" ? "This session was ended from another device" : source === "remote" ? "Signed out in another tab" : "Signed out",
          why: error ? "The server closed this connection at once: no need to wait until a token ends." : "All tabs of this browser are signed out together.",
        }),
      ),
      auth.on("refresh", ({ source }) => refreshed(source === "remote")),
      auth.on("error", ({ error }) =>
        void say({
          kind: "error", tone: "warn", title: "The token could not be renewed yet",
          why: `${"code" in error ? reason(error as never) : "That is tried again."} You stay signed in: only the server can end a session, not a bad network.`,
        }),
      ),
      auth.on("inactivity-timeout", () =>
        void say({
          kind: "idle", alone: true, title: "Locked: nobody was here for a while",
          why: "The connection is closed while the page is locked, in all tabs of this browser.",
        }),
      ),
      socket.subscribe(stateChanged),
      socket.onAny(heard),
      edits.start(),
      net.subscribe(networkChanged),
    ];
    return () => {
      for (const off of offs) off();
      for (const timer of later) clearTimeout(timer);
      later.clear();
      drop();
      drop = () => {};
    };
  };

  return {
    get: () => value,
    subscribe(changed) {
      listeners.add(changed);
      return () => listeners.delete(changed);
    },
    start,
    moved: () => void (socket.state.connected && rejoin()),
  };
}

/** What a reconnect says of the events that were missed; undefined: the server could not tell. */
function caughtUp(missed: number | undefined, came: number): { title: string; why: string; tone: "good" | "warn" } {
  if (missed === undefined)
    return {
      title: ", board read anew", tone: "warn",
      why: "The server no longer has what happened meanwhile (it was restarted, or it was long ago) and says so. The page fetched the whole board again.",
    };
  if (!missed) return { title: ", nothing was missed", tone: "good", why: "The page told the server the last event it had seen. There was none after it." };
  if (came < missed)
    return { title: `, ${came} of ${count(missed, "event")} came`, tone: "warn", why: "Some events of this time did not come." };
  return {
    title: `: ${count(missed, "event")} recovered, none lost`, tone: "good",
    why: "The page told the server the last event it had seen. All that came after it was sent again, in order and once.",
  };
}
