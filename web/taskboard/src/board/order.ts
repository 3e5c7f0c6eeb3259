// The places of cards in a list and of lists on a board are keys: text that is
// compared with `<`. The server gives them. Until it has, what waits here gets
// one that is good enough to show it in its place.

const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/** The shortest key about half way between two; "" is before the first, or after the last. */
export function between(a: string, b: string): string {
  let key = "";
  let bounded = b !== "";
  for (let i = 0; ; i++) {
    const low = i < a.length ? digits.indexOf(a[i]!) : 0;
    const high = bounded ? (i < b.length ? digits.indexOf(b[i]!) : 0) : digits.length;
    const half = (low + high) >> 1;
    if (half > low) return key + digits[half];
    key += digits[low];
    if (low < high) bounded = false; // it is below b whatever follows
  }
}

interface Placed {
  readonly id: string;
  readonly key: string;
}

export const byKey = (a: Placed, b: Placed): number => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0);

/**
 * Where in a row something comes that is wanted before one item or after
 * another. Whichever is not there doesn't count; without any it is the end.
 */
export function spot(row: readonly Placed[], before?: string, after?: string): number {
  const at = before ? row.findIndex((item) => item.id === before) : -1;
  if (at >= 0) return at;
  const behind = after ? row.findIndex((item) => item.id === after) : -1;
  return behind >= 0 ? behind + 1 : row.length;
}

/** The key for an item that comes into a row, in which it may be already. */
export function place(row: Iterable<Placed>, id: string, before?: string, after?: string): string {
  const others = [...row].filter((item) => item.id !== id).sort(byKey);
  const at = spot(others, before, after);
  return between(others[at - 1]?.key ?? "", others[at]?.key ?? "");
}
