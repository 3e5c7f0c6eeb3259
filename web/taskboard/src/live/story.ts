import type { Tone } from "./words.js";

/** Something that happened, in plain words. */
export interface Happening {
  id: number;
  /** Epoch milliseconds. */
  at: number;
  /** Those of one kind in a row are one entry that counts. */
  kind: string;
  title: string;
  /** Why it matters. */
  why: string;
  tone: Tone;
  /** How often in a row. */
  times: number;
  /** Said to screen readers as well. */
  said: boolean;
}

/** What is told: words that may depend on how often it was so in a row. */
export interface Told {
  kind: string;
  title: string | ((times: number) => string);
  why: string | ((times: number) => string);
  tone?: Tone;
  said?: boolean;
  /** Always an entry of its own. */
  alone?: boolean;
}

const most = 50;

/** The newest first. */
export type Story = readonly Happening[];

/** The story with one more thing, or with its newest entry counted up. */
export function tell(story: Story, told: Told, id: number, at: number): Story {
  const [newest, ...rest] = story;
  const again = !told.alone && newest?.kind === told.kind ? newest : undefined;
  const times = (again?.times ?? 0) + 1;
  const entry: Happening = {
    id: again?.id ?? id,
    at,
    kind: told.kind,
    title: text(told.title, times),
    why: text(told.why, times),
    tone: told.tone ?? "quiet",
    times,
    said: told.said ?? false,
  };
  return [entry, ...(again ? rest : story)].slice(0, most);
}

/** The story with an entry's words changed: more has become known of it. */
export const amend = (story: Story, id: number, words: Partial<Pick<Happening, "title" | "why" | "tone" | "said">>): Story =>
  story.map((entry) => (entry.id === id ? { ...entry, ...words } : entry));

const text = (of: string | ((times: number) => string), times: number) => (typeof of === "string" ? of : of(times));
