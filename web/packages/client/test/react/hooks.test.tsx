// @vitest-environment happy-dom
import { act, cleanup, render } from "@testing-library/react";
import { StrictMode, useState, type ReactNode } from "react";
import { afterEach, expect, test, vi } from "vitest";
import { HoldfastError } from "../../src/errors.js";
import {
  RealtimeProvider,
  useConnectionState,
  useCursors,
  useHttpClient,
  usePresence,
  useRealtimeClient,
  useRoom,
  useRoomEvent,
  useSocketClient,
  useSocketEvent,
  useTyping,
  type SocketClient,
} from "../../src/react/index.js";
import { fakeClient } from "./fake.js";

afterEach(cleanup);

const settle = () => act(async () => {});
const texts = (node: HTMLElement) => node.textContent;

test("the provider connects once, StrictMode or not, and closes no client that it did not make", async () => {
  const { client, wire } = fakeClient();
  const view = render(
    <StrictMode>
      <RealtimeProvider client={client}>x</RealtimeProvider>
    </StrictMode>,
  );
  await settle();
  expect(wire).toEqual(["connect"]);
  view.unmount();
  await settle();
  expect(wire).toEqual(["connect"]);
});

test("without autoConnect nothing connects", async () => {
  const { client, wire } = fakeClient();
  render(
    <RealtimeProvider client={client} autoConnect={false}>
      x
    </RealtimeProvider>,
  );
  await settle();
  expect(wire).toEqual([]);
});

test("a hook without a provider says what is missing", () => {
  const Lost = () => <>{useConnectionState().state}</>;
  const quiet = vi.spyOn(console, "error").mockImplementation(() => {});
  expect(() => render(<Lost />)).toThrow("No provider above this hook");
  quiet.mockRestore();
});

test("useRealtimeClient and useHttpClient give the provider's", () => {
  const { client } = fakeClient();
  const seen: unknown[] = [];
  const Look = () => (seen.push(useRealtimeClient(), useHttpClient()), null);
  render(<RealtimeProvider client={client} children={<Look />} />);
  expect(seen).toEqual([client, client.http]);
});

test("useConnectionState renders at each change, and only then", async () => {
  const { client, set } = fakeClient();
  let renders = 0;
  const State = () => (renders++, (<>{useConnectionState().state}</>));
  const view = render(<RealtimeProvider client={client} autoConnect={false} children={<State />} />);
  expect(texts(view.container)).toBe("disconnected");
  act(() => set("connecting"));
  act(() => set("connected"));
  expect([texts(view.container), renders]).toEqual(["connected", 3]);
});

test("useSocketEvent calls the newest handler without subscribing again", () => {
  const { client, bus } = fakeClient();
  const on = vi.spyOn(client.socket, "on");
  const seen: string[] = [];
  const Listener = ({ mark }: { mark: string }) => (
    useSocketEvent("note", (data, meta) => seen.push(`${mark} ${data} ${meta.room}`)), null
  );
  const app = (mark: string) => <RealtimeProvider client={client} children={<Listener mark={mark} />} />;
  const view = render(app("a"));
  act(() => bus.emit("event note", 1, { room: "r" }));
  view.rerender(app("b"));
  act(() => bus.emit("event note", 2, {}));
  expect(seen).toEqual(["a 1 r", "b 2 undefined"]);
  expect(on).toHaveBeenCalledTimes(1);
  view.unmount();
  expect(bus.count("event note")).toBe(0);
});

test("useRoomEvent hears its room alone; two components are one on the wire, StrictMode or not", async () => {
  const { client, wire, room } = fakeClient();
  const seen: string[] = [];
  const Listener = ({ name, mark }: { name: string; mark: string }) => (
    useRoomEvent(name, "note", (data) => seen.push(`${mark} ${data}`)), null
  );
  const app = (...marks: string[]) => (
    <StrictMode>
      <RealtimeProvider client={client} autoConnect={false}>
        {marks.map((mark) => (
          <Listener key={mark} name="r" mark={mark} />
        ))}
        <Listener name="other" mark="other" />
      </RealtimeProvider>
    </StrictMode>
  );
  const view = render(app("a", "b"));
  await settle();
  expect(wire).toEqual(["join r", "join other"]);
  act(() => room("r").bus.emit("event note", 1));
  expect(seen).toEqual(["a 1", "b 1"]);
  view.rerender(app("b"));
  await settle();
  act(() => room("r").bus.emit("event note", 2));
  expect(seen).toEqual(["a 1", "b 1", "b 2"]);
  expect(wire).toEqual(["join r", "join other"]);
  view.rerender(app());
  await settle();
  expect(wire).toEqual(["join r", "join other", "leave r"]);
  view.unmount();
  await settle();
  expect(wire).toEqual(["join r", "join other", "leave r", "leave other"]);
});

test("a page that takes another's place keeps the room that both have", async () => {
  const { client, wire } = fakeClient();
  const Page = ({ rooms }: { rooms: string }) => (useRoom("all"), useRoomEvent(rooms, "x", () => {}), null);
  const app = (key: string) => (
    <RealtimeProvider client={client} autoConnect={false} children={<Page key={key} rooms={key} />} />
  );
  const view = render(app("a"));
  await settle();
  view.rerender(app("b"));
  await settle();
  expect(wire).toEqual(["join all", "join a", "join b", "leave a"]);
});

test("another room or event name is followed", async () => {
  const { client, wire, room } = fakeClient();
  const seen: unknown[] = [];
  const Listener = (p: { room: string; event: string }) => (useRoomEvent(p.room, p.event, (d) => seen.push(d)), null);
  const app = (name: string, event: string) => (
    <RealtimeProvider client={client} autoConnect={false} children={<Listener room={name} event={event} />} />
  );
  const view = render(app("r", "a"));
  view.rerender(app("r", "b"));
  await settle();
  act(() => (room("r").bus.emit("event a", 1), room("r").bus.emit("event b", 2)));
  view.rerender(app("s", "b"));
  await settle();
  act(() => (room("r").bus.emit("event b", 3), room("s").bus.emit("event b", 4)));
  expect(seen).toEqual([2, 4]);
  expect(wire).toEqual(["join r", "join s", "leave r"]);
});

test("useRoom tells when it is joined, when it was left, and of a refusal", async () => {
  const { client, room, refused } = fakeClient();
  const error = new HoldfastError("FORBIDDEN", "Not for you");
  refused.set("secret", error);
  const Shown = ({ name }: { name: string }) => {
    const { room, joined, error } = useRoom(name);
    return <>{[room?.name, joined, error?.code].join()};</>;
  };
  const view = render(
    <RealtimeProvider client={client}>
      <Shown name="r" />
      <Shown name="secret" />
    </RealtimeProvider>,
  );
  expect(texts(view.container)).toBe("r,false,;secret,false,;");
  await settle();
  expect(texts(view.container)).toBe("r,true,;secret,false,FORBIDDEN;");
  act(() => room("r").bus.emit("left", error));
  expect(texts(view.container)).toBe("r,false,FORBIDDEN;secret,false,FORBIDDEN;");
});

test("usePresence shows who is there, and renders for nothing else", async () => {
  const { client, room } = fakeClient();
  const ann = { id: "u1", name: "Ann" };
  room("r").present = [ann];
  let renders = 0;
  const Shown = () => (
    renders++,
    (
      <>
        {usePresence("r")
          .map((user) => user.name)
          .join()}
      </>
    )
  );
  const view = render(<RealtimeProvider client={client} children={<Shown />} />);
  await settle();
  expect(texts(view.container)).toBe("Ann");
  const before = renders;
  const bob = { id: "u2", name: "Bob" };
  act(() => room("r").people({ kind: "join", user: bob }, [ann, bob]));
  expect([texts(view.container), renders]).toEqual(["Ann,Bob", before + 1]);
  act(() => room("r").people({ kind: "paused" }, room("r").present));
  expect(renders).toBe(before + 1);
});

test("useTyping: who types, and notify", async () => {
  const { client, room, wire } = fakeClient();
  let typing!: ReturnType<typeof useTyping>;
  const notifies = new Set<unknown>();
  const Shown = () => ((typing = useTyping("r")), notifies.add(typing.notify), null);
  render(<RealtimeProvider client={client} autoConnect={false} children={<Shown />} />);
  const tell = (id: string, on: boolean) => act(() => room("r").bus.emit("typing", { id }, on));
  tell("a", true);
  tell("b", true);
  tell("a", true);
  expect(typing.typing).toEqual([{ id: "b" }, { id: "a" }]);
  tell("a", false);
  expect(typing.typing).toEqual([{ id: "b" }]);
  typing.notify();
  expect(wire).toEqual(["join r", "typing r"]);
  expect(notifies.size).toBe(1);
});

test("useCursors: the last of each, gone with its user and after a reconnect; move", async () => {
  const { client, room, wire } = fakeClient();
  let cursors!: ReturnType<typeof useCursors<number>>;
  const Shown = () => ((cursors = useCursors<number>("r")), null);
  render(<RealtimeProvider client={client} autoConnect={false} children={<Shown />} />);
  const move = (from: string, data: number, key?: string) =>
    act(() => room("r").bus.emit("signal cursor", data, { from, key }));
  move("a", 1);
  move("b", 2, "left");
  move("b", 3, "right");
  move("a", 4);
  move("b", 5, "left");
  expect(cursors.cursors.map((c) => `${c.id}${c.key ?? ""}${c.data}`)).toEqual(["bright3", "a4", "bleft5"]);
  act(() => room("r").people({ kind: "update", user: { id: "b" } }, []));
  act(() => room("r").people({ kind: "leave", user: { id: "b" } }, []));
  expect(cursors.cursors).toEqual([{ id: "a", data: 4 }]);
  act(() => room("r").people({ kind: "sync", users: [{ id: "a" }] }, []));
  expect(cursors.cursors).toEqual([]);
  cursors.move(6);
  cursors.move(7, "left");
  expect(wire).toEqual(["join r", "signal cursor 6 -", 'signal cursor 7 left']);
});

test("useCursors: somebody who invents keys fills no memory", async () => {
  const { client, room } = fakeClient();
  let cursors!: ReturnType<typeof useCursors<number>>;
  const Shown = () => ((cursors = useCursors<number>("r")), null);
  render(<RealtimeProvider client={client} autoConnect={false} children={<Shown />} />);
  act(() => {
    for (let i = 0; i < 1100; i++) room("r").bus.emit("signal cursor", i, { from: "a", key: `${i}` });
  });
  expect([cursors.cursors.length, cursors.cursors.at(-1)!.data]).toEqual([1000, 1099]);
});

test("useSocketClient: state, emits, and rooms that go with the component", async () => {
  const { client, wire, set } = fakeClient();
  const all: SocketClient[] = [];
  const Shown = () => (all.push(useSocketClient()), null);
  const Other = () => (useRoom("r"), null);
  const app = (shown: boolean) => (
    <StrictMode>
      <RealtimeProvider client={client}>
        {shown && <Shown />}
        <Other />
      </RealtimeProvider>
    </StrictMode>
  );
  const view = render(app(true));
  await settle();
  const socket = all.at(-1)!;
  expect([socket.connected, socket.connecting, socket.socket]).toEqual([true, false, client.socket]);
  await socket.emit("e", 1);
  expect(await socket.emitAck("q", 2)).toBe("answer");
  socket.joinRoom("r");
  socket.joinRoom("s");
  socket.joinRoom("t");
  socket.leaveRoom("t");
  await settle();
  act(() => set("connecting"));
  const after = all.at(-1)!;
  expect([after.connecting, after.emit === socket.emit, after.joinRoom === socket.joinRoom]).toEqual([true, true, true]);
  act(() => set("connected"));
  view.rerender(app(false));
  await settle();
  expect(wire).toEqual(["join r", "connect", "emit e 1", "ack q 2", "join s", "join t", "leave t", "leave s"]);
});

test("when another user signs in, what is shown joins its rooms as that one", async () => {
  const { client, room, wire } = fakeClient();
  const seen: unknown[] = [];
  const Shown = () => {
    useRoomEvent("r", "x", (data) => seen.push(data));
    const { joined, error } = useRoom("r");
    return <>{[joined, error?.code, usePresence("r").length].join()}</>;
  };
  room("r").present = [{ id: "u1" }];
  const view = render(<RealtimeProvider client={client} children={<Shown />} />);
  await settle();
  expect(texts(view.container)).toBe("true,,1");
  await act(async () => room("r").expel(new HoldfastError("SIGNED_OUT", "another user")));
  act(() => room("r").bus.emit("event x", 1));
  expect([texts(view.container), seen]).toEqual(["true,,0", [1]]);
  expect(wire).toEqual(["join r", "connect", "join r"]);
  view.unmount();
  await settle();
  expect(wire).toEqual(["join r", "connect", "join r", "leave r"]);
});

test("a room that waits while nobody is signed in is joined with the connection, and not joined without one", async () => {
  const { client, room, set, wire } = fakeClient();
  const Shown = () => <>{[useRoom("r").joined, useRoom("r").error?.code].join()}</>;
  room("r").stopped = new HoldfastError("SIGNED_OUT", "no token");
  const view = render(<RealtimeProvider client={client} autoConnect={false} children={<Shown />} />);
  await settle();
  expect(texts(view.container)).toBe("false,");
  room("r").stopped = undefined;
  await act(async () => set("connected"));
  expect(texts(view.container)).toBe("true,");
  await act(async () => set("connecting"));
  expect(texts(view.container)).toBe("false,");
  await act(async () => set("connected"));
  expect([texts(view.container), wire]).toEqual(["true,", ["join r"]]);
});

test("a room that was taken away stays away", async () => {
  const { client, room, wire } = fakeClient();
  const Shown = () => <>{useRoom("r").error?.code}</>;
  const view = render(<RealtimeProvider client={client} autoConnect={false} children={<Shown />} />);
  await settle();
  await act(async () => room("r").expel(new HoldfastError("FORBIDDEN", "no more")));
  expect([texts(view.container), wire]).toEqual(["FORBIDDEN", ["join r"]]);
});

test("another client in the provider: everything moves over", async () => {
  const [one, two] = [fakeClient(), fakeClient()];
  const seen: unknown[] = [];
  const Shown = () => {
    useRoomEvent("r", "x", (data) => seen.push(data));
    useSocketEvent("y", (data) => seen.push(data));
    return <>{useConnectionState().state}</>;
  };
  const app = (client: (typeof one)["client"]): ReactNode => (
    <RealtimeProvider client={client} autoConnect={false} children={<Shown />} />
  );
  const view = render(app(one.client));
  act(() => one.set("connected"));
  view.rerender(app(two.client));
  await settle();
  expect(texts(view.container)).toBe("disconnected");
  act(() => {
    for (const [n, { room, bus }] of [one, two].entries()) {
      room("r").bus.emit("event x", `x${n}`);
      bus.emit("event y", `y${n}`);
    }
  });
  expect(seen).toEqual(["x1", "y1"]);
  expect([one.wire, two.wire]).toEqual([["join r", "leave r"], ["join r"]]);
  expect([one.bus.count("state"), one.bus.count("event y")]).toEqual([0, 0]);
});

test("a handler that changes state, in StrictMode, in its own room", async () => {
  const { client, room } = fakeClient();
  const Counter = () => {
    const [sum, setSum] = useState(0);
    useRoomEvent("r", "add", (n: number) => setSum(sum + n));
    return <>{sum}</>;
  };
  const view = render(
    <StrictMode>
      <RealtimeProvider client={client} children={<Counter />} />
    </StrictMode>,
  );
  for (const n of [1, 2, 3]) act(() => room("r").bus.emit("event add", n));
  expect(texts(view.container)).toBe("6");
});
