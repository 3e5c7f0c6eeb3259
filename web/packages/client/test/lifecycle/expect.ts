import { isDeepStrictEqual } from "node:util";
import { HoldfastError } from "../../src/index.js";
import type { TestServer } from "../../src/testing/index.js";
import { errorName, type Actor, type Outcome } from "./actor.js";
import type { Expect, Range, Result } from "./scenario.js";

/** Compares everything that an expectation names, takes note of what was seen if all is right, and returns what is wrong. */
export function check(a: Actor, server: TestServer, e: Expect): string[] {
  const faults: string[] = [];
  const same = (what: string, got: unknown, want: unknown) => {
    const equal = isDeepStrictEqual(got, want);
    if (want !== undefined && !equal) faults.push(`${what} is ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);
  };
  const within = (what: string, got: number, want: Range | undefined) => {
    const [least, most] = typeof want === "number" ? [want, want] : (want ?? [got, got]);
    if (!(least <= got && got <= most)) faults.push(`${what} is ${got}, want ${JSON.stringify(want)}`);
  };
  if (a.managed) {
    same("signedIn", a.auth.isAuthenticated(), e.signedIn);
    same("user", a.auth.getUser()?.id ?? "", e.user);
    within("token", a.token, e.token);
  }
  same("state", a.socket.state.state, e.state);
  within("refreshes", server.refreshes, e.refreshes);
  within("signOuts", server.signOuts, e.signOuts);
  within("connections", server.connections, e.connections);
  for (const [path, n] of Object.entries(e.requests ?? {})) within(`requests of ${path}`, server.requests(path), n);
  same("added", server.added, e.added);
  within("queued", a.socket.queued.length, e.queued);
  within("dead", a.socket.dead.length, e.dead);
  within("unauthorized", a.unauthorized, e.unauthorized);
  same("events", a.events, e.events);
  same("changes", a.changes, e.changes);
  same("received", a.received, e.received);
  for (const [name, want] of Object.entries(e.results ?? {})) {
    const outcomes = a.outcomes.get(name) ?? [];
    if (outcomes.length === 0) faults.push(`nothing was done as ${name}`);
    for (const o of outcomes) result(name, o, want, same, within);
  }
  if (faults.length > 0) return faults;
  if (e.events) a.events = [];
  if (e.changes) a.changes = [];
  if (e.received) a.received = [];
  return [];
}

function result(
  name: string, o: Outcome, want: Result,
  same: (what: string, got: unknown, want: unknown) => void,
  within: (what: string, got: number, want: Range | undefined) => void,
): void {
  same(`${name}: that it has ended`, o.done, !want.pending);
  if (want.pending || !o.done) return;
  const error = o.error instanceof HoldfastError ? o.error : undefined;
  same(`${name}: the error (${String(o.error)})`, errorName(o.error), want.error ?? "");
  same(`${name}: final`, error?.final ?? false, want.final);
  same(`${name}: status`, error?.status ?? 0, want.status || undefined);
  same(`${name}: retryAfter`, (error?.retryAfter ?? 0) * 1000, want.retryAfter || undefined);
  same(`${name}: the data`, o.data, want.data);
  within(`${name}: how long it took`, o.took, want.took);
}
