// @vitest-environment happy-dom
import { act, cleanup, render } from "@testing-library/react";
import { StrictMode } from "react";
import { afterEach, expect, test, vi } from "vitest";
import {
  AuthGuard,
  AuthProvider,
  GuestGuard,
  RealtimeProvider,
  RoleGuard,
  useAuth,
  type Auth,
} from "../../src/react/index.js";
import { FakeAuth, fakeClient } from "./fake.js";

afterEach(cleanup);

const settle = () => act(async () => {});
const ann = { id: "u1", name: "Ann", roles: ["editor"] };

test("useAuth: user, roles and rights; it renders when these change, and only then", async () => {
  const auth = new FakeAuth();
  const all: Auth[] = [];
  const Shown = () => (all.push(useAuth()), null);
  render(<AuthProvider auth={auth} children={<Shown />} />);
  await settle();
  expect([all.at(-1)!.isAuthenticated, all.at(-1)!.user, all.at(-1)!.pending]).toEqual([false, undefined, false]);
  const before = all.length;
  auth.rights = ["write"];
  act(() => auth.sign(ann));
  expect(all.length).toBe(before + 1);
  const now = all.at(-1)!;
  expect([now.isAuthenticated, now.user]).toEqual([true, ann]);
  expect([now.hasRole(["admin", "editor"]), now.hasRole("admin"), now.can("write"), now.can("drop")]).toEqual([
    true,
    false,
    true,
    false,
  ]);
  act(() => auth.bus.emit("change"));
  expect(all.length).toBe(before + 1);
  await act(() => now.refresh());
  expect(all.length).toBe(before + 2); // other rights, perhaps
  await act(async () => now.signOut());
  expect([all.at(-1)!.isAuthenticated, all.at(-1)!.can("write")]).toEqual([false, false]);
});

test("signIn calls the newest of the provider, and keeps what it returns", async () => {
  const auth = new FakeAuth();
  let now!: Auth;
  const Shown = () => ((now = useAuth()), null);
  const seen: unknown[] = [];
  const app = (mark: string) => (
    <AuthProvider
      auth={auth}
      signIn={async (name: string, password: string) => {
        seen.push([mark, name, password]);
        if (password !== "right") throw new Error("wrong");
        return { accessToken: "t", user: ann };
      }}
      children={<Shown />}
    />
  );
  const view = render(app("old"));
  view.rerender(app("new"));
  await settle();
  await expect(act(() => now.signIn("ann", "no"))).rejects.toThrow("wrong");
  expect(now.isAuthenticated).toBe(false);
  await act(() => now.signIn("ann", "right"));
  expect(now.user).toEqual(ann);
  expect(seen).toEqual([
    ["new", "ann", "no"],
    ["new", "ann", "right"],
  ]);
});

test("signIn without one says so", async () => {
  let now!: Auth;
  const Shown = () => ((now = useAuth()), null);
  render(<AuthProvider auth={new FakeAuth()} children={<Shown />} />);
  await settle();
  await expect(now.signIn()).rejects.toThrow("<AuthProvider> has no signIn");
});

test("guards show and hide, and redirect once it is known who is signed in", async () => {
  const auth = new FakeAuth(undefined, ann); // as with a session cookie, which has to be asked
  const redirects: string[] = [];
  const to = (where: string) => () => void redirects.push(where);
  const view = render(
    <AuthProvider auth={auth}>
      <AuthGuard fallback="[who?]" redirect={to("sign-in")}>
        [auth]
      </AuthGuard>
      <GuestGuard redirect={to("home")}>[guest]</GuestGuard>
      <RoleGuard role="editor">[editor]</RoleGuard>
      <RoleGuard role={["admin", "editor"]}>[any]</RoleGuard>
      <RoleGuard role="editor" can="publish" fallback="[no right]">
        [publish]
      </RoleGuard>
      <RoleGuard role="admin" redirect={to("no admin")}>
        [admin]
      </RoleGuard>
    </AuthProvider>,
  );
  expect([view.container.textContent, redirects]).toEqual(["[who?][guest][no right]", []]);
  await settle();
  expect(view.container.textContent).toBe("[auth][editor][any][no right]");
  expect(redirects).toEqual(["home", "no admin"]);
  act(() => auth.sign(undefined));
  expect(view.container.textContent).toBe("[who?][guest][no right]");
  expect(redirects).toEqual(["home", "no admin", "sign-in"]);
});

test("who signs in or out elsewhere is followed, in StrictMode as well", async () => {
  const auth = new FakeAuth(ann);
  const view = render(
    <StrictMode>
      <AuthProvider auth={auth}>
        <AuthGuard fallback="out">in</AuthGuard>
      </AuthProvider>
    </StrictMode>,
  );
  await settle();
  expect([view.container.textContent, auth.calls]).toEqual(["in", []]);
  act(() => auth.sign(undefined));
  expect(view.container.textContent).toBe("out");
  view.unmount();
  expect([...auth.bus.handlers.values()].map((set) => set.size)).toEqual([0]);
});

test("rights that a refresh has changed are seen", async () => {
  const auth = new FakeAuth(ann);
  const view = render(
    <AuthProvider auth={auth}>
      <RoleGuard can="publish">publish</RoleGuard>
    </AuthProvider>,
  );
  await settle();
  expect(view.container.textContent).toBe("");
  auth.rights = ["publish"];
  await act(() => auth.refresh());
  expect(view.container.textContent).toBe("publish");
});

test("a client's AuthManager needs no provider of its own; a sign-in connects", async () => {
  const auth = new FakeAuth();
  const { client, wire, set } = fakeClient(auth);
  const view = render(
    <RealtimeProvider client={client}>
      <AuthGuard fallback="out">in</AuthGuard>
    </RealtimeProvider>,
  );
  await settle();
  expect([view.container.textContent, wire]).toEqual(["out", ["connect"]]);
  act(() => set("disconnected")); // as after a refusal: nobody was signed in
  await act(async () => auth.sign(ann));
  expect([view.container.textContent, wire]).toEqual(["in", ["connect", "connect"]]);
});

test("another AuthManager: it is asked anew", async () => {
  const [one, two] = [new FakeAuth(ann), new FakeAuth(undefined, { id: "u2", name: "Bob" })];
  const redirect = vi.fn();
  const Name = () => <>{useAuth().user?.name}</>;
  const app = (auth: FakeAuth) => (
    <AuthProvider auth={auth}>
      <AuthGuard redirect={redirect}>
        <Name />
      </AuthGuard>
    </AuthProvider>
  );
  const view = render(app(one));
  await settle();
  view.rerender(app(two));
  await settle();
  expect([view.container.textContent, redirect.mock.calls.length]).toEqual(["Bob", 0]);
});
