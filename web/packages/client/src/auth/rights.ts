const literal = (text: string) => text.replace(/\W/g, "\\$&");
const whole = (pattern: string, text: string) => new RegExp(`^${pattern}$`, "s").test(text);

/** Whether a permission such as `todo.*` covers an action (docs/protocol.md §1, Actions). */
export function permits(permission: string, action: string): boolean {
  // A star is a whole segment; the last one stands for all that follow.
  const pattern = permission.split(".").map((s, i, all) => (s !== "*" ? literal(s) : all[i + 1] == null ? ".+" : "[^.]+"));
  return !action.split(".").includes("") && whole(pattern.join("\\."), action);
}

/** Whether room patterns, in either form, grant a join (docs/protocol.md §1, Room permissions). */
export function joins(rooms: string[] | Record<string, string[]>, room: string): boolean {
  let best = 0;
  let granted = false;
  const list = Array.isArray(rooms);
  for (const pattern of list ? rooms : Object.keys(rooms)) {
    const text = pattern.replace(/^!/, "");
    let rank = 1e9;
    // More literal characters win, then fewer "**", then fewer "*". A pattern has at most 200 bytes.
    const glob = text.replace(/\*\*|[^]/gu, (s) => {
      rank += s === "*" ? -1 : s === "**" ? -1e3 : 1e6;
      return s === "*" ? "[^:]*" : s === "**" ? ".*" : literal(s);
    });
    if (!room || rank < best || !whole(glob, room)) continue;
    const grants = text === pattern && (list || rooms[pattern]!.includes("join"));
    granted = grants && (rank > best || granted); // of those that tie, only what all grant
    best = rank;
  }
  return granted;
}
