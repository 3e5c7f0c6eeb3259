// What this browser remembers of the page itself. Storage may be blocked: then
// the defaults hold.

const get = (key: string): string | null => {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
};

const set = (key: string, value: string | undefined): void => {
  try {
    if (value === undefined) localStorage.removeItem(key);
    else localStorage.setItem(key, value);
  } catch {
    // It holds until the page is left.
  }
};

/** Calls back when another tab has changed one of these settings. */
export function onOtherTab(what: "locked" | "theme", changed: () => void): () => void {
  const heard = ({ key }: StorageEvent) => {
    if (!key || key === `taskboard:${what}`) changed();
  };
  addEventListener("storage", heard);
  return () => removeEventListener("storage", heard);
}

/** Minutes without activity until the page locks; 0: never. Default 15. */
export const idleMinutes = (): number => {
  const minutes = Number(get("taskboard:idle") ?? 15);
  return minutes >= 0 && minutes <= 1440 ? minutes : 15;
};

/** Holds from the next load of the page on. */
export const setIdleMinutes = (minutes: number): void => set("taskboard:idle", String(minutes));

/** The session that is locked in this browser, in all tabs and over a reload. */
export const lockedSession = (): string | undefined => get("taskboard:locked") ?? undefined;

/** Locks a session, or takes the lock away. */
export const setLockedSession = (session: string | undefined): void => set("taskboard:locked", session);

/** Somebody has signed in with this browser before, and is likely to have an account. */
export const isKnown = (): boolean => get("taskboard:known") === "1";

/** Remembers that somebody has signed in. */
export const setKnown = (): void => set("taskboard:known", "1");

export type Theme = "auto" | "light" | "dark";

/** The theme that the user has chosen; `auto` is the system's. */
export const theme = (): Theme => {
  const value = get("taskboard:theme");
  return value === "light" || value === "dark" ? value : "auto";
};

/** Shows a theme, and remembers it. */
export const setTheme = (value: Theme): void => {
  set("taskboard:theme", value);
  showTheme(value);
};

/** Shows a theme: the colours of tokens.css follow `color-scheme`. theme.js has done so before the first paint. */
export const showTheme = (value: Theme): void => {
  document.documentElement.style.colorScheme = value === "auto" ? "light dark" : value;
};
