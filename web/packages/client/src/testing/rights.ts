import { Refusal } from "./refusal.js";

/** What may be done in a room. */
export type Verb = "join" | "publish" | "presence";

/** Patterns that grant everything, or verbs by pattern (docs/protocol.md §1). */
export type RoomRights = string[] | Record<string, Verb[]>;

interface Match {
  verbs: Verb[];
  literals: number;
  doubles: number;
  singles: number;
}

function match(pattern: string, verbs: Verb[], room: string): Match | undefined {
  const denies = pattern.startsWith("!");
  const text = denies ? pattern.slice(1) : pattern;
  const parts = text.split(/(\*\*|\*)/);
  const expression = parts.map((p) => (p === "**" ? "[^]*" : p === "*" ? "[^:]*" : p.replace(/[\\^$.+?()[\]{}|]/g, "\\$&")));
  if (!new RegExp(`^${expression.join("")}$`, "u").test(room)) return undefined;
  const count = (s: string) => parts.filter((p) => p === s).length;
  const doubles = count("**");
  const singles = count("*");
  return { verbs: denies ? [] : verbs, literals: text.length - 2 * doubles - singles, doubles, singles };
}

/** The verbs in a room: those of the strongest pattern; of several that tie, those that all of them grant. */
export function verbs(rights: RoomRights, room: string): Verb[] {
  const all: [string, Verb[]][] = Array.isArray(rights)
    ? rights.map((p) => [p, ["join", "publish", "presence"]])
    : Object.entries(rights);
  const found = all.map(([p, v]) => match(p, v, room)).filter((m) => m !== undefined);
  const compare = (a: Match, b: Match) => b.literals - a.literals || a.doubles - b.doubles || a.singles - b.singles;
  found.sort(compare);
  const best = found[0];
  if (!best) return [];
  return found.filter((m) => compare(m, best) === 0).reduce((v, m) => v.filter((x) => m.verbs.includes(x)), best.verbs);
}

const bytes = (s: string) => new TextEncoder().encode(s).length;

/** Throws where a text can't be a room's name. */
export function checkRoom(room: unknown): asserts room is string {
  if (
    typeof room !== "string" || room === "" || bytes(room) > 200 || room === "." || room === ".." || room !== room.trim() ||
    room.startsWith("!") || /[*\p{Cc}\u200B-\u200F\u202A-\u202E\u2060-\u2069\uFEFF]/u.test(room)
  )
    throw new Refusal("INVALID_ARGUMENT", "the room's name is wrong");
}

const reserved = [
  "connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener", "typing", "user_typing",
];

/** Throws where an event can't be published. */
export function checkEvent(event: unknown): asserts event is string {
  if (typeof event !== "string" || event === "" || bytes(event) > 128 || /\p{Cc}/u.test(event))
    throw new Refusal("INVALID_ARGUMENT", "the event's name is wrong");
  if (reserved.includes(event) || /^(auth|room|presence):/.test(event))
    throw new Refusal("INVALID_ARGUMENT", "the event's name is reserved");
}

/** Throws where a text can't be the id of an event. */
export function checkId(id: unknown): asserts id is string {
  if (typeof id !== "string" || id === "" || bytes(id) > 128 || /\p{Cc}/u.test(id))
    throw new Refusal("INVALID_ARGUMENT", "the event's id is wrong");
}
