// @vitest-environment happy-dom
import { act } from "@testing-library/react";
import { StrictMode } from "react";
import { hydrateRoot } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { afterEach, expect, test, vi } from "vitest";
import {
  AuthGuard,
  GuestGuard,
  RealtimeProvider,
  RoleGuard,
  useAuth,
  useConnectionState,
  useCursors,
  usePresence,
  useRoom,
  useRoomEvent,
  useSocketClient,
  useSocketEvent,
  useTyping,
} from "../../src/react/index.js";
import { FakeAuth, fakeClient } from "./fake.js";

afterEach(() => vi.restoreAllMocks());

const ann = { id: "u1", name: "Ann", roles: ["editor"] };

function Page({ redirect }: { redirect: () => void }) {
  useSocketEvent("x", () => {});
  useRoomEvent("r", "x", () => {});
  const auth = useAuth();
  const said = [
    useConnectionState().state,
    useSocketClient().connected,
    useRoom("r").joined,
    usePresence("r").length,
    useTyping("r").typing.length,
    useCursors("r").cursors.length,
    auth.user?.name ?? "nobody",
    auth.hasRole("editor"),
  ];
  return (
    <p>
      {said.join()}
      <AuthGuard fallback="[out]" redirect={redirect}>
        [in]
      </AuthGuard>
      <GuestGuard>[guest]</GuestGuard>
      <RoleGuard role="editor">[editor]</RoleGuard>
    </p>
  );
}

/** A client whose user is signed in, whose socket is connected and whose room has somebody in it. */
function busy() {
  const fake = fakeClient(new FakeAuth(ann));
  fake.room("r").present = [ann];
  fake.set("connected");
  return fake;
}

const app = (client: ReturnType<typeof busy>["client"], redirect: () => void) => (
  <StrictMode>
    <RealtimeProvider client={client}>
      <Page redirect={redirect} />
    </RealtimeProvider>
  </StrictMode>
);

test("a server renders disconnected, signed out and empty, touches nothing, and hydration agrees", async () => {
  const complaints = vi.spyOn(console, "error");
  const redirect = vi.fn();
  const server = busy();
  const html = renderToString(app(server.client, redirect));
  expect(html.replace(/<!-- -->/g, "")).toBe("<p>disconnected,false,false,0,0,0,nobody,false[out][guest]</p>");
  expect(server.wire).toEqual([]);
  expect([...server.bus.handlers.keys()]).toEqual([]);

  const node = document.createElement("div");
  node.innerHTML = html;
  const mistakes: unknown[] = [];
  const page = busy();
  const root = await act(async () =>
    hydrateRoot(node, app(page.client, redirect), { onRecoverableError: (error) => mistakes.push(error) }),
  );
  expect(node.textContent).toBe("connected,true,true,1,0,0,Ann,true[in][editor]");
  expect(page.wire).toEqual(["join r"]);
  expect([mistakes, complaints.mock.calls, redirect.mock.calls]).toEqual([[], [], []]);
  await act(async () => root.unmount());
  expect(page.wire).toEqual(["join r", "leave r"]);
});
