// What tests find in a page: the client, and a list of what it told.
import * as holdfast from "@holdfast/client";

export interface Told {
  name: string;
  source?: string;
  /** Of the error that came with it. */
  code?: string;
  message?: string;
  /** Epoch milliseconds, with fractions. */
  at: number;
}

declare global {
  var hf: typeof holdfast;
  var client: holdfast.RealtimeClient;
  var told: Told[];
  var got: any[];
  function start(config?: holdfast.RealtimeClientConfig): void;
  function heard(name: string, source?: string): number;
}

globalThis.hf = holdfast;
globalThis.told = [];
globalThis.got = [];

const tell = (name: string, source?: string, error?: any) =>
  told.push({ name, source: source!, code: error?.code, message: error?.message, at: performance.timeOrigin + performance.now() });

/** Makes the page's client, and listens to it. */
globalThis.start = (config) => {
  globalThis.client = holdfast.createRealtimeClient(config as holdfast.RealtimeClientConfig & { authToken?: never });
  const { auth, socket } = client;
  for (const name of ["sign-in", "sign-out", "refresh", "refresh-failed", "error"] as const)
    auth?.on(name, (payload) => tell(name, payload.source, (payload as { error?: Error }).error));
  let last = "";
  socket.subscribe(() => {
    const { state, error } = socket.state;
    if (state !== last) tell(state, undefined, error);
    last = state;
  });
};

/** How often something was told. */
globalThis.heard = (name, source) => told.filter((t) => t.name === name && (!source || t.source === source)).length;
