// What this browser remembers of the page itself. Storage may be blocked: then
// the defaults hold.

const get = (key: string): string | null => {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
};

const set = (key: string, value: string): void => {
  try {
    localStorage.setItem(key, value);
  } catch {
    // It holds until the page is left.
  }
};

/** Minutes without activity until the page locks; 0: never. Default 15. */
export const idleMinutes = (): number => {
  const minutes = Number(get("taskboard:idle") ?? 15);
  return minutes >= 0 && minutes <= 1440 ? minutes : 15;
};

/** Holds from the next load of the page on. */
export const setIdleMinutes = (minutes: number): void => set("taskboard:idle", String(minutes));

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

/** Shows a theme: the colours of tokens.css follow `color-scheme`. */
export const showTheme = (value: Theme): void => {
  document.documentElement.style.colorScheme = value === "auto" ? "light dark" : value;
};
