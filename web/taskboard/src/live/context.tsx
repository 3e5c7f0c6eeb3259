import { createContext, useContext, useEffect, useMemo, useSyncExternalStore, type ReactNode } from "react";
import type { Client } from "../client.js";
import { parse, useHash } from "../router.js";
import { network } from "./network.js";
import { record, type Record, type Recorder } from "./recorder.js";

const Context = createContext<Recorder | undefined>(undefined);

/** The room of the board that the page shows. */
const roomHere = (): string | undefined => {
  const route = parse(location.hash);
  return route.at === "board" ? `board-${route.board}` : undefined;
};

/** Watches the client for the parts of the page that tell of it, from before it connects. */
export function LiveProvider({ client, children }: { client: Client; children: ReactNode }) {
  const recorder = useMemo(() => record({ auth: client.auth!, socket: client.socket }, roomHere, network()), [client]);
  const hash = useHash();
  useEffect(() => recorder.start(), [recorder]);
  useEffect(() => recorder.moved(), [recorder, hash]);
  return <Context.Provider value={recorder}>{children}</Context.Provider>;
}

/** What has been recorded. */
export function useRecord(): Record {
  const recorder = useContext(Context);
  if (!recorder) throw new Error("No LiveProvider above");
  return useSyncExternalStore(recorder.subscribe, recorder.get);
}
