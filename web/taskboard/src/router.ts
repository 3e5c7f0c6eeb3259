import { useSyncExternalStore } from "react";

/** Where the page is. It stands in the fragment, which is never sent to a server: a link's token is safe there. */
export type Route =
  | { at: "boards" }
  | { at: "board"; board: string; card?: string }
  | { at: "join"; token: string }
  | { at: "devices" | "security" | "terminal" };

const parts = (hash: string): string[] => hash.replace(/^#\/?/, "").split("/").map(safeDecode);

function safeDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** What a fragment means; an unknown one is the list of boards. */
export function parse(hash: string): Route {
  const [at, first, second] = parts(hash);
  if (at === "b" && first) return second ? { at: "board", board: first, card: second } : { at: "board", board: first };
  if (at === "join" && first) return { at: "join", token: first };
  if (at === "devices" || at === "security" || at === "terminal") return { at };
  return { at: "boards" };
}

/** The fragment of a place, for `href`. */
export function href(route: Route): string {
  switch (route.at) {
    case "board":
      return `#/b/${encodeURIComponent(route.board)}${route.card ? `/${encodeURIComponent(route.card)}` : ""}`;
    case "join":
      return `#/join/${encodeURIComponent(route.token)}`;
    case "boards":
      return "#/";
    default:
      return `#/${route.at}`;
  }
}

/** Goes to a place; `replace` leaves no way back. */
export function go(route: Route, replace = false): void {
  if (replace) location.replace(href(route));
  else location.hash = href(route);
}

const listen = (changed: () => void) => {
  addEventListener("hashchange", changed);
  return () => removeEventListener("hashchange", changed);
};

/** The hash as it is, so that the same place is the same value. */
export const useHash = (): string => useSyncExternalStore(listen, () => location.hash);
