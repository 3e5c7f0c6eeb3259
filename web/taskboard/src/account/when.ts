const day = 86_400_000;

const midnight = (at: number) => new Date(at).setHours(0, 0, 0, 0);

/** A moment as people say it: "just now", "12 minutes ago", "today at 14:05", "3 May 2026". */
export function when(at: number, now = Date.now(), locale?: string): string {
  const minutes = Math.floor((now - at) / 60_000);
  if (minutes < 2) return "just now";
  if (minutes < 60) return `${minutes} minutes ago`;
  const time = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit" }).format(at);
  const days = Math.round((midnight(now) - midnight(at)) / day);
  if (days === 0) return `today at ${time}`;
  if (days === 1) return `yesterday at ${time}`;
  return new Intl.DateTimeFormat(locale, { day: "numeric", month: "long", year: "numeric" }).format(at);
}
