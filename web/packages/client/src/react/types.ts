import type { AuthManager, AuthSnapshot, RealtimeClient } from "../index.js";
import type { EventMap, Tokens } from "../types.js";

/**
 * Where an application says which events its hooks know:
 *
 *     declare module "@holdfast/client/react" {
 *       interface Register { events: { "todo:created": Todo } }
 *     }
 *
 * Without it every event is `any`.
 */
export interface Register {}

/** The events of Register, or any. */
export type Events = Register extends { events: infer E extends EventMap } ? E : EventMap;

/** Calls the server with what the application gives it, and returns the tokens that came. */
export type SignIn = (...args: any[]) => Tokens | Promise<Tokens>;

/** Who is signed in, as an AuthManager shows it. */
export type AuthState = AuthSnapshot;

/** What hooks and guards need of an AuthManager, so that a test can put something else in its place. */
export type AuthStore = Pick<
  AuthManager,
  "on" | "subscribe" | "getSnapshot" | "getAccessToken" | "hasRole" | "can" | "setTokens" | "refresh" | "clear"
>;

/** What the provider needs of a client: what createRealtimeClient makes, or a stand-in for a test. */
export type ClientLike = RealtimeClient<any, AuthStore | undefined>;
