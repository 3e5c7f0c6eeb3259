// What the pieces of code in the manual take for granted: those that are no
// whole files leave away what is not their matter.
type Todo = { id: string; title: string };
type Card = { card: number; to: string };
type Point = { x: number; y: number };

declare const client: import("@holdfast/client").RealtimeClient<
  { "todo:created": Todo; "card:moved": Card },
  import("@holdfast/client").AuthManager
>;
declare const email: string;
declare const password: string;
declare const signal: AbortSignal;
declare function show(...what: unknown[]): void;
declare function reload(): void;
