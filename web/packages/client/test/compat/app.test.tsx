// @vitest-environment happy-dom
import { act, cleanup, configure, fireEvent, render, screen, waitFor } from "@testing-library/react";
import { StrictMode } from "react";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { WebSocket } from "ws";
import { startServer } from "./server.js";

configure({ asyncUtilTimeout: 20_000 }); // a bound for machines that are busy: nothing here waits for time
vi.setConfig({ testTimeout: 60_000 });

let server: Awaited<ReturnType<typeof startServer>>;
beforeEach(async () => {
  server = await startServer();
  (window as any).happyDOM.setURL(server.url); // the page is the server's own
  vi.stubGlobal("WebSocket", WebSocket);
});
afterEach(async () => {
  cleanup();
  await act(async () => {});
  await server.stop();
  vi.unstubAllGlobals();
  vi.doUnmock("realtimehttpauthclient");
  vi.resetModules();
});

const seen = (what: string) => server.log.filter((line) => line.startsWith(what)).length;

describe.each(["realtimehttpauthclient", "@holdfast/client/compat"])("the manual's todo page with %s", (from) => {
  const load = async () => {
    if (from.endsWith("compat")) vi.doMock("realtimehttpauthclient", () => import("../../src/compat/index.js"));
    return import("./app.js");
  };

  test("signs in by cookie, shows todos, follows changes, comes back", async () => {
    const { App, makeClient } = await load();
    const kept = new Map<string, string>();
    const client = makeClient(server.url, kept);
    render(
      <StrictMode>
        <App client={client} />
      </StrictMode>,
    );
    const status = screen.getByRole("status");
    // No token yet: the first call is refused, one is got, and it goes on from there.
    await waitFor(() => expect(status.textContent).toBe("connected"));
    expect(kept.get("app_access_token")).toMatch(/^t\d$/);
    await waitFor(() => expect(server.connections()).toBe(1));

    fireEvent.click(screen.getByText("Add"));
    await screen.findByText("todo 1");
    await waitFor(() => expect(seen("todo:create ")).toBe(1));
    fireEvent.click(screen.getByRole("checkbox"));
    await waitFor(() => expect((screen.getByRole("checkbox") as HTMLInputElement).checked).toBe(true));

    // The token has expired: a call gets another one, once, and takes effect once.
    const before = seen("POST /api/realtime/token 200");
    server.expire();
    fireEvent.click(screen.getByText("Add"));
    await waitFor(() => expect([seen("POST /api/todos 401"), seen("POST /api/todos 201")]).toEqual([1, 2]));
    expect(seen("POST /api/realtime/token 200")).toBe(before + 1);

    // Both connect anew with it, this server knowing no other way.
    await waitFor(() => expect(seen("CONNECT true")).toBe(2));
    await waitFor(() => expect([status.textContent, server.connections()]).toEqual(["connected", 1]));
    fireEvent.click(screen.getByText("Ask"));
    await waitFor(() => expect(screen.getByRole("note").textContent).toBe("answer"));
    server.state.acks = () => ({ ok: false, error: { message: "That is taken" } });
    fireEvent.click(screen.getByText("Ask"));
    await waitFor(() => expect(screen.getByRole("note").textContent).toBe("That is taken"));

    // The room is joined, and again after a network that went away.
    const joins = seen('room:join {"room":"board"}');
    server.drop();
    await waitFor(() => expect(seen('room:join {"room":"board"}')).toBe(joins + 1));
    act(() => server.tell("said", "hello", "board"));
    await waitFor(() => expect(screen.getByRole("note").textContent).toBe("hello"));

    await waitFor(() => expect(server.connections()).toBe(1));
    fireEvent.click(screen.getByText("Delete 1"));
    await waitFor(() => expect(screen.queryByText("todo 1")).toBeNull());
    cleanup();
    await waitFor(() => expect(server.connections()).toBe(0));
    expect(client.getSocket()).toBeNull();
  });

  test("without a session it says so, and does not connect", async () => {
    const { makeClient } = await load();
    server.state.cookie = false;
    let unauthorized = 0;
    const kept = new Map([["app_access_token", "old"]]);
    const client = makeClient(server.url, kept, { onUnauthorized: () => void unauthorized++ });
    await client.connect();
    await waitFor(() => expect(unauthorized).toBeGreaterThan(0));
    await waitFor(() => expect(client.getSocket()).toBeNull());
    expect([kept.size, client.isConnected()]).toEqual([0, false]);
    await expect(client.http.get("/api/todos")).rejects.toMatchObject({ status: 401, message: "no token", payload: { message: "no token" } });
    await client.disconnect();
  });

  test("http calls what initializeHttp was told", async () => {
    const { http, initializeHttp } = (await (load(), import("realtimehttpauthclient"))) as typeof import("realtimehttpauthclient");
    initializeHttp({ apiBaseUrl: server.url, socketUrl: server.url, getAccessToken: () => "none", refresh: { enabled: false, endpoint: "" } });
    await expect(http.get("/api/todos")).rejects.toMatchObject({ status: 401 });
    expect(seen("GET /api/todos 401")).toBe(1);
  });
});
