// Base 32 without I, L, O and U.
const CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** A new ULID (https://github.com/ulid/spec): 48 bits of milliseconds, so that ids sort by time, and 80 of chance. */
export function newId(now: number): string {
  let time = "";
  for (let i = 0; i < 10; i++) {
    time = CROCKFORD[now % 32] + time;
    now = Math.floor(now / 32);
  }
  return crypto.getRandomValues(new Uint8Array(16)).reduce((id, b) => id + CROCKFORD[b % 32], time);
}
