"use client";
import { useInsertionEffect, useRef } from "react";

/** The value of the last render that was shown, for handlers that live longer than a render. */
export function useLatest<T>(value: T): { readonly current: T } {
  const ref = useRef(value);
  useInsertionEffect(() => {
    ref.current = value;
  });
  return ref;
}
