import { useEffect, useRef, type RefObject } from "react";

/** When what was open is closed, the focus goes to the first button of what is there instead, so that the keyboard does not start anew. */
export function useFocusBack(open: boolean): RefObject<HTMLDivElement | null> {
  const place = useRef<HTMLDivElement>(null);
  const before = useRef(open);
  useEffect(() => {
    if (before.current && !open) place.current?.querySelector("button")?.focus();
    before.current = open;
  }, [open]);
  return place;
}
