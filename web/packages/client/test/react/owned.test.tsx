// @vitest-environment happy-dom
import { act, cleanup, render } from "@testing-library/react";
import { Activity, StrictMode } from "react";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { WebSocketLike } from "../../src/platform.js";
import { RealtimeProvider, useConnectionState, useRealtimeClient } from "../../src/react/index.js";
import type { RealtimeClientConfig } from "../../src/types.js";

/** WebSockets that have been made; they let everybody in who sends CONNECT. */
let made: FakeSocket[];
beforeEach(() => void (made = []));
afterEach(cleanup);

class FakeSocket implements WebSocketLike {
  binaryType = "";
  readyState = 0;
  bufferedAmount = 0;
  closed = 0;
  sent: unknown[] = [];
  onopen: WebSocketLike["onopen"] = null;
  onmessage: WebSocketLike["onmessage"] = null;
  onclose: WebSocketLike["onclose"] = null;
  onerror: WebSocketLike["onerror"] = null;
  constructor(readonly url: string) {
    made.push(this);
  }
  send(data: string) {
    this.sent.push(data);
    if (data.startsWith("40")) this.onmessage?.({ data: '40{"sid":"c1"}' });
  }
  close() {
    this.closed++;
  }
  open() {
    this.readyState = 1;
    this.onopen?.({});
    this.onmessage?.({ data: '0{"sid":"e1","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}' });
  }
}

const config: RealtimeClientConfig = {
  url: "https://rt.example.com",
  auth: false,
  platform: { WebSocket: FakeSocket as any, fetch: () => Promise.reject(new Error("no network here")) },
};
const State = () => <>{useConnectionState().state}</>;
const settle = () => act(async () => {});

test("a provider with a config has one client with one connection, StrictMode or not, and closes it", async () => {
  const clients = new Set<unknown>();
  const Look = () => (clients.add(useRealtimeClient()), null);
  const app = (
    <StrictMode>
      <RealtimeProvider config={config}>
        <State />
        <Look />
      </RealtimeProvider>
    </StrictMode>
  );
  const view = render(app);
  await settle();
  expect(made.length).toBe(1);
  await act(async () => made[0]!.open());
  expect([view.container.textContent, made.length, made[0]!.closed]).toEqual(["connected", 1, 0]);
  view.rerender(app);
  view.unmount();
  await settle();
  expect([made.length, made[0]!.closed > 0, clients.size]).toEqual([1, true, 1]);
});

test("a provider that is hidden and shown again connects again", async () => {
  const app = (mode: "visible" | "hidden") => (
    <Activity mode={mode}>
      <RealtimeProvider config={config} children={<State />} />
    </Activity>
  );
  const view = render(app("visible"));
  await settle();
  await act(async () => made[0]!.open());
  view.rerender(app("hidden"));
  await settle();
  expect(made[0]!.closed).toBeGreaterThan(0);
  view.rerender(app("visible"));
  await settle();
  expect(made.length).toBe(2);
  await act(async () => made[1]!.open());
  expect(view.container.textContent).toBe("connected");
});
