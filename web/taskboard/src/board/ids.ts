const letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** A new id for a card or a list, as a ULID (https://github.com/ulid/spec): the server takes 26 digits and capital letters. */
export function newId(): string {
  let time = "";
  for (let i = 0, now = Date.now(); i < 10; i++, now = Math.floor(now / 32)) time = letters[now % 32] + time;
  return crypto.getRandomValues(new Uint8Array(16)).reduce((id, byte) => id + letters[byte % 32], time);
}
