/** Whether there is a network, as far as this device knows. */
export interface Network {
  get: () => boolean;
  subscribe: (changed: () => void) => () => void;
}

/**
 * The browser's own word for it, which comes long before a connection is missed.
 * A server on this device is there without a network: that it answers is asked.
 */
export function network(answers = () => fetch("/healthz", { method: "HEAD", cache: "no-store" })): Network {
  let there = navigator.onLine;
  return {
    get: () => there,
    subscribe(changed) {
      let asked = 0;
      const set = (value: boolean) => {
        if (value === there) return;
        there = value;
        changed();
      };
      const look = () => {
        const mine = ++asked;
        set(navigator.onLine);
        if (!there) answers().then(() => mine === asked && set(true), () => {});
      };
      for (const name of ["online", "offline"]) addEventListener(name, look);
      look();
      return () => {
        asked++;
        for (const name of ["online", "offline"]) removeEventListener(name, look);
      };
    },
  };
}
