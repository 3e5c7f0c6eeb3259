import type { ConnectionState, Position, Room, User } from "@holdfast/client";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { network, type Network } from "../src/live/network.js";
import { record, type Watched } from "../src/live/recorder.js";
import { amend, tell, type Story } from "../src/live/story.js";
import { count, duration, light, names, why } from "../src/live/words.js";

/** Spaces that don't break as any other. */
const plain = (text: string) => text.replaceAll("\u00a0", " ");

const error = (code: string, message = code.toLowerCase()) => ({ code, message, final: false }) as any;

const connection = (state: ConnectionState["state"], code?: string, final = false): ConnectionState => ({
  state, final, connected: state === "connected", connecting: state === "connecting", ...(code && { error: error(code) }),
});

describe("words", () => {
  test.each([
    [connection("connected"), true, 0, "Live"],
    [connection("connected"), false, 0, "Offline"],
    [connection("connecting"), true, 0, "Connecting…"],
    [connection("connecting", "CONNECTION_LOST"), true, 0, "Connecting…"],
    [connection("connecting", "NETWORK"), true, 1, "Connecting…"],
    [connection("connecting", "NETWORK"), true, 2, "Offline"],
    [connection("connecting"), false, 0, "Offline"],
    [connection("disconnected", "SIGNED_OUT", true), true, 0, "Signed out"],
    [connection("disconnected", "SESSION_REVOKED", true), false, 0, "Signed out"],
    [connection("disconnected", "FORBIDDEN", true), true, 0, "Offline"],
    [connection("closed", "CLOSED", true), true, 0, "Locked"],
  ])("the light for %o, network %s, %d failures: %s", (state, online, failures, word) => {
    expect(light(state, { online, failures })[0]).toBe(word);
  });

  test("the light says why", () => {
    expect(why(connection("connecting", "NETWORK"), true)).toBe("The server can't be reached.");
    expect(why(connection("connecting", "NETWORK"), false)).toMatch(/^This device has no network/);
    expect(why(connection("disconnected", "STRANGE", true), true)).toBe("strange.");
    expect(why(connection("connecting"), true)).toMatch(/asking the server/);
  });

  test("durations, counts and names", () => {
    expect([0, 3210, 9_990, 59_400, 60_000, 65_000, 7_380_000].map((ms) => plain(duration(ms)))).toEqual(["0.0 s", "3.2 s", "10.0 s", "59 s", "1 min", "1 min 5 s", "2 h 3 min"]);
    expect([count(1, "edit"), count(0, "edit"), count(2, "person", "people")]).toEqual(["1 edit", "0 edits", "2 people"]);
    expect([["A"], ["A", "B"], ["A", "B", "C"], ["A", "B", "C", "D"]].map(names)).toEqual(["A", "A and B", "A, B and 1 other", "A, B and 2 others"]);
  });
});

describe("the story", () => {
  const told = (kind: string, alone = false) => ({ kind, title: (n: number) => `${kind} ${n}`, why: "", alone });

  test("things of a kind in a row are one entry, which keeps its id", () => {
    let story: Story = [];
    for (const [id, kind] of ["a", "a", "b", "a"].entries()) story = tell(story, told(kind), id, id * 10);
    expect(story.map(({ id, title, at }) => [id, title, at])).toEqual([[3, "a 1", 30], [2, "b 1", 20], [0, "a 2", 10]]);
    story = tell(story, told("a", true), 4, 40);
    expect(story.map(({ id }) => id)).toEqual([4, 3, 2, 0]);
  });

  test("fifty are kept, and words can be changed", () => {
    let story: Story = [];
    for (let id = 0; id < 60; id++) story = tell(story, told("x", true), id, 0);
    expect(story.length).toBe(50);
    expect(amend(story, 59, { title: "new" })[0]!.title).toBe("new");
    expect(amend(story, 59, { title: "new" }).slice(1)).toEqual(story.slice(1));
  });
});

/** A client of which a test says what happens. */
function fake() {
  const handlers = new Map<string, Set<(...args: any[]) => void>>();
  const on = (key: string, fn: (...args: any[]) => void) => {
    const all = handlers.get(key) ?? new Set();
    handlers.set(key, all.add(fn));
    return () => void all.delete(fn);
  };
  const emit = (key: string, ...args: any[]) => [...(handlers.get(key) ?? [])].forEach((fn) => fn(...args));
  let holds = 0;
  let join: { resolve: (at: Position) => void; reject: (error: unknown) => void };
  const socket: any = {
    state: connection("disconnected"), session: undefined, queued: [], dead: [],
    subscribe: (fn: any) => on("state", fn),
    onAny: (fn: any) => on("any", fn),
    subscribeQueue: (fn: any) => on("queue", fn),
    onDead: (fn: any) => on("dead", fn),
    join(): Partial<Room> {
      holds++;
      const joined = new Promise<Position>((resolve, reject) => (join = { resolve, reject }));
      const offs: (() => void)[] = [];
      const hear = (key: string) => (fn: any) => (offs.push(on(key, fn)), () => {});
      return {
        joined, onReset: hear("reset"), onAny: hear("room"),
        leave: () => (offs.forEach((off) => off()), void holds--),
      };
    },
  };
  let online = true;
  const net: Network = { get: () => online, subscribe: (fn) => on("network", fn) };
  const user: User = { id: "u1", name: "Ada" };
  const client: Watched = { socket, auth: { on: (event: string, fn: any) => on(event, fn), getUser: () => user } as any };
  return {
    client, emit, socket, net,
    network(is: boolean) {
      online = is;
      emit("network");
    },
    /** How many listeners and holds there are. */
    open: () => [...handlers.values()].reduce((sum, all) => sum + all.size, 0) + holds,
    state(state: ConnectionState["state"], code?: string) {
      socket.state = connection(state, code);
      emit("state");
    },
    event(offset: number, id?: string, name = "task_moved", data: unknown = {}) {
      const meta = { room: "board-1", epoch: "e", offset, ...(id && { id }) };
      emit("any", name, [data, meta]);
      emit("room", name, data, meta);
    },
    async joined(offset: number, epoch = "e") {
      join.resolve({ epoch, offset });
      await vi.advanceTimersByTimeAsync(0);
    },
    queue(...ids: string[]) {
      socket.queued = ids.map((id) => ({ id, user: id.startsWith("other") ? "u2" : "u1" }));
      emit("queue");
    },
  };
}

describe("the recorder", () => {
  beforeEach(() => void vi.useFakeTimers({ now: 1_000_000 }));
  afterEach(() => void vi.useRealTimers());

  const begin = async () => {
    const f = fake();
    const recorder = record(f.client, () => "board-1", f.net);
    const stop = recorder.start();
    f.state("connecting");
    f.state("connected");
    await f.joined(7);
    return { ...f, recorder, stop, titles: () => recorder.get().story.map(({ title }) => plain(title)) };
  };

  test("what came between two connections is counted, of the events and of their offsets", async () => {
    const { state, event, joined, recorder, titles } = await begin();
    event(8);
    state("connecting", "CONNECTION_LOST");
    state("connecting", "NETWORK");
    expect(recorder.get().failures).toBe(1);
    vi.setSystemTime(1_003_200);
    state("connected");
    for (const offset of [9, 10, 11]) event(offset);
    await joined(11);
    expect(titles()).toEqual(["Reconnected after 3.2 s: 3 events recovered, none lost", "The connection was lost", "Connected"]);
    expect(recorder.get()).toMatchObject({ failures: 0, since: 1_003_200 });
  });

  test("events that should have come and did not are not called recovered", async () => {
    const { state, event, joined, titles } = await begin();
    state("connecting", "NETWORK");
    state("connected");
    event(9);
    await joined(10);
    expect(titles()[0]).toBe("Reconnected after 0.0 s, 1 of 3 events came");
  });

  test("polling is told of, at each connection that it carries", async () => {
    const { emit, socket, joined, titles } = await begin();
    socket.state = connection("connecting", "NETWORK");
    emit("state");
    socket.state = { ...connection("connected"), transport: "polling" };
    emit("state");
    await joined(7);
    expect(titles()[0]).toBe("No WebSocket here: polling instead");
  });

  test("nothing was missed, and history that was lost", async () => {
    const { state, joined, emit, titles } = await begin();
    state("connecting", "GOING_AWAY");
    state("connected");
    await joined(7);
    state("connecting", "NETWORK");
    state("connected");
    emit("reset", { epoch: "f", offset: 2 });
    await joined(2, "f");
    expect(titles()).toEqual([
      "Reconnected after 0.0 s, board read anew", "The connection was lost",
      "Reconnected after 0.0 s, nothing was missed", "The server says that it goes away", "Connected",
    ]);
  });

  test("tokens that are renewed: the connection did not notice, for the n-th time", async () => {
    const { emit, socket, recorder, titles } = await begin();
    socket.session = { connection: "c1", expiresAt: 1000 };
    for (const end of [2000, 3000]) {
      emit("refresh", { accessToken: "t", source: "self" });
      socket.session = { connection: "c1", expiresAt: end };
      await vi.advanceTimersByTimeAsync(200);
    }
    expect(titles()[0]).toBe("The token was renewed (2 times in a row)");
    expect(recorder.get().story[0]!.why).toMatch(/same one, after 2 renewals/);
    // Another connection is not the same one.
    emit("refresh", { accessToken: "t", source: "remote" });
    socket.session = { connection: "c2", expiresAt: 9000 };
    await vi.advanceTimersByTimeAsync(10_000);
    expect(titles()[0]).toBe("Another tab renewed the token");
    expect(recorder.get().story[0]!.why).not.toMatch(/same one/);
    expect(recorder.get().renewals).toBe(2);
  });

  test("edits: those that go out at once are no news; those that wait are, and how often they were applied", async () => {
    const { queue, state, event, titles, emit, socket } = await begin();
    queue("a");
    queue();
    expect(titles()).toEqual(["Connected"]);
    queue("b");
    state("connecting", "NETWORK"); // b was just being sent
    queue("b", "c", "d");
    expect(titles()[0]).toBe("3 edits wait for the network");
    state("connected");
    queue("c", "d");
    for (const [offset, id] of [[8, "c"], [9, "d"]] as const) event(offset, id);
    queue("d");
    queue();
    expect(titles()[0]).toBe("3 edits sent"); // of b no event came
    state("connecting", "NETWORK");
    queue("e", "f");
    state("connected");
    event(10, "e");
    socket.dead = [{ item: { id: "f" }, error: error("FORBIDDEN") }];
    queue();
    emit("dead", { item: { id: "f" }, error: error("FORBIDDEN") });
    expect(titles().slice(0, 2)).toEqual(["The server refused an edit", "1 edit sent, applied once"]);
  });

  test("edits of another user of this browser are none of this one's", async () => {
    const { queue, state, titles } = await begin();
    state("connecting", "NETWORK");
    const before = titles();
    queue("other1");
    expect(titles()).toEqual(before);
    queue("other1", "a");
    expect(titles()[0]).toBe("1 edit waits for the network");
    state("connected");
    queue("other1");
    expect(titles()[0]).toBe("1 edit sent");
    queue();
    expect(titles()[0]).toBe("1 edit sent");
  });

  test("a network that is gone is told of while the connection still looks open", async () => {
    const { network, queue, event, titles, recorder } = await begin();
    queue("a"); // on its way
    network(false);
    queue("a", "b");
    expect(titles()).toEqual(["2 edits wait for the network", "This device has no network", "Connected"]);
    expect(recorder.get().online).toBe(false);
    network(true);
    event(8, "a");
    event(9, "b");
    queue();
    expect(titles()[0]).toBe("2 edits sent, each applied once");
  });

  test("the session and its rights", async () => {
    const { emit, event, titles, state } = await begin();
    emit("sign-in", { user: { id: "u1", name: "Ada" }, source: "self" });
    event(8, undefined, "member_updated", { by: { name: "Bob" }, member: { id: "u2", role: "viewer" } });
    event(9, undefined, "member_updated", { by: { name: "Bob" }, member: { id: "u1", role: "viewer" } });
    emit("any", "room:left", [{ room: "board-1", code: "FORBIDDEN" }]);
    emit("error", { error: error("NETWORK"), source: "self" });
    emit("sign-out", { source: "remote", error: error("SESSION_REVOKED") });
    state("disconnected", "SIGNED_OUT");
    expect(titles()).toEqual([
      "This session was ended from another device", "The token could not be renewed yet", "You are no longer on this board",
      "You may only look at this board now", "Signed in as Ada", "Connected",
    ]);
    // Another user sees nothing of it.
    emit("sign-in", { user: { id: "u3" }, source: "self" });
    expect(titles()).toEqual(["Signed in"]);
  });

  test("nothing is left when it stops, and it may be started again", async () => {
    const { recorder, stop, open, emit, socket } = await begin();
    socket.session = { connection: "c1", expiresAt: 1000 };
    emit("refresh", { accessToken: "t", source: "self" });
    stop();
    await vi.advanceTimersByTimeAsync(0);
    expect([open(), vi.getTimerCount()]).toEqual([0, 0]);
    recorder.start();
    expect(open()).toBeGreaterThan(5);
  });
});

describe("the network", () => {
  afterEach(() => void vi.unstubAllGlobals());

  const begin = (answer: () => Promise<any>) => {
    const target = new EventTarget();
    const navigator = { onLine: true };
    vi.stubGlobal("navigator", navigator);
    for (const name of ["addEventListener", "removeEventListener"] as const) vi.stubGlobal(name, target[name].bind(target));
    const net = network(answer);
    const seen: boolean[] = [];
    const off = net.subscribe(() => seen.push(net.get()));
    const go = async (online: boolean) => {
      navigator.onLine = online;
      target.dispatchEvent(new Event(online ? "online" : "offline"));
      await new Promise((resolve) => setImmediate(resolve));
    };
    return { seen, off, go };
  };

  test("is gone when the browser says so, until it is back", async () => {
    const { seen, off, go } = begin(() => Promise.reject(new TypeError("no network")));
    await go(false);
    await go(true);
    off();
    await go(false);
    expect(seen).toEqual([false, true]);
  });

  test("is not missed by a server on this device", async () => {
    const { seen, go } = begin(() => Promise.resolve());
    await go(false);
    expect(seen).toEqual([false, true]);
  });
});
