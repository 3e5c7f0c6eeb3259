/** The files of testdata/lifecycle, as their README has them. Unknown keys are errors. */

export type Range = number | [least: number, most: number];

export interface Config {
  lifetime?: number;
  opaque?: boolean;
  noExpiry?: boolean;
  keepRefresh?: boolean;
  plain?: boolean;
  skew?: number;
  csrf?: "header" | "body" | "cookie";
  clients?: string[];
  shared?: boolean;
  source?: "manager" | "fixed" | "function" | "cookie";
  user?: string;
  buffer?: number;
  idle?: number;
  queue?: number;
}

export interface Result {
  pending?: boolean;
  error?: string;
  final?: boolean;
  status?: number;
  retryAfter?: number;
  data?: unknown;
  took?: Range;
}

export interface Expect {
  signedIn?: boolean;
  user?: string;
  token?: Range;
  unauthorized?: Range;
  events?: string[];
  state?: string;
  changes?: string[];
  received?: unknown[];
  queued?: Range;
  dead?: Range;
  results?: Record<string, Result>;
  refreshes?: Range;
  signOuts?: Range;
  connections?: Range;
  requests?: Record<string, Range>;
  added?: unknown[];
}

export interface Step {
  do?: string;
  server?: string;
  advance?: number;
  expect?: Expect;
  why?: string;
  by?: string;
  as?: string;
  within?: number;
  user?: string;
  method?: string;
  path?: string;
  room?: string;
  event?: string;
  data?: unknown;
  timeout?: number;
  times?: number;
  status?: number;
  code?: string;
  retryAfter?: number;
  for?: number;
  how?: string;
}

/** One case of a file. */
export interface Scenario {
  name: string;
  applies: string[];
  needs: string[];
  config: Config;
  steps: Step[];
}

// What the value of a key has to be: "string", "number", "boolean", "any", "range", "strings", "list".
const configKeys = {
  lifetime: "number", opaque: "boolean", noExpiry: "boolean", keepRefresh: "boolean", plain: "boolean", skew: "number",
  csrf: "string", clients: "strings", shared: "boolean", source: "string", user: "string", buffer: "number", idle: "number",
  queue: "number",
};
const resultKeys = {
  pending: "boolean", error: "string", final: "boolean", status: "number", retryAfter: "number", data: "any", took: "range",
};
const expectKeys = {
  signedIn: "boolean", user: "string", token: "range", unauthorized: "range", events: "strings", state: "string",
  changes: "strings", received: "list", queued: "range", dead: "range", results: "any", refreshes: "range", signOuts: "range",
  connections: "range", requests: "any", added: "list",
};
const stepKeys = {
  do: "string", server: "string", advance: "number", expect: "any", why: "string", by: "string", as: "string",
  within: "number", user: "string", method: "string", path: "string", room: "string", event: "string", data: "any",
  timeout: "number", times: "number", status: "number", code: "string", retryAfter: "number", for: "number", how: "string",
};
const fileKeys = { name: "string", applies: "strings", needs: "strings", config: "any", each: "list", steps: "list" };

function is(kind: string, v: unknown): boolean {
  const numbers = (a: unknown) => Array.isArray(a) && a.length === 2 && a.every(Number.isFinite) && a[0] <= a[1];
  switch (kind) {
    case "any":
      return true;
    case "range":
      return Number.isFinite(v) || numbers(v);
    case "list":
      return Array.isArray(v);
    case "strings":
      return Array.isArray(v) && v.every((s) => typeof s === "string");
    default:
      return typeof v === kind;
  }
}

function strict(what: string, v: unknown, keys: Record<string, string>): void {
  if (!v || typeof v !== "object" || Array.isArray(v)) throw new Error(`${what} is no object`);
  for (const [key, value] of Object.entries(v)) {
    const kind = keys[key];
    if (kind === undefined) throw new Error(`${what}: unknown key ${key}`);
    if (!is(kind, value)) throw new Error(`${what}: ${key} is no ${kind}`);
  }
}

/** Puts a case's values where `"$key"` is the whole of a string. */
function fill(v: unknown, values: Record<string, unknown>, name: string): unknown {
  if (typeof v === "string" && v.startsWith("$")) {
    if (!(v.slice(1) in values)) throw new Error(`case ${name} has no value for ${v}`);
    return values[v.slice(1)];
  }
  if (Array.isArray(v)) return v.map((x) => fill(x, values, name));
  if (v && typeof v === "object") return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, fill(x, values, name)]));
  return v;
}

function checkStep(what: string, s: Step): void {
  strict(what, s, stepKeys);
  const kinds = [s.do, s.server, s.advance || undefined, s.expect].filter((x) => x !== undefined);
  if (kinds.length !== 1 || (s.advance ?? 1) <= 0) throw new Error(`${what} is to be exactly one of do, server, advance and expect`);
  if (!s.expect) return;
  strict(what, s.expect, expectKeys);
  for (const r of Object.values(s.expect.results ?? {})) strict(what, r, resultKeys);
  for (const [path, n] of Object.entries(s.expect.requests ?? {})) strict(what, { [path]: n }, { [path]: "range" });
}

/** The cases of a file by their names: itself, as "", where it has no `each`. */
export function parse(text: string): Map<string, Scenario> {
  const { each, ...file } = JSON.parse(text);
  strict("the file", { ...file, ...(each && { each }) }, fileKeys);
  if (!file.name || !file.steps?.length || !file.applies?.length) throw new Error("name, applies and steps are required");
  const cases = new Map<string, Scenario>();
  for (const values of each ?? [{ case: "" }]) {
    const name = values.case;
    if (typeof name !== "string" || cases.has(name) || (each && name === "")) throw new Error("each case needs a name of its own");
    const filled = fill(file, values, name) as Scenario;
    strict("config", filled.config ?? {}, configKeys);
    filled.steps.forEach((s, i) => checkStep(`step ${i + 1}`, s));
    cases.set(name, { ...filled, needs: filled.needs ?? [], config: filled.config ?? {} });
  }
  return cases;
}
