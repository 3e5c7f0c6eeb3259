import { HoldfastError, local } from "./errors.js";
import { listen } from "./surroundings.js";

/** Why a signal has aborted. */
export function reason(signal: AbortSignal): HoldfastError {
  const cause = signal.reason;
  if (cause instanceof HoldfastError) return cause;
  return local(cause?.name === "TimeoutError" ? "TIMEOUT" : "CANCELED", undefined, undefined, cause);
}

/** Throws where a signal has aborted. */
export function check(signal: AbortSignal | null | undefined): void {
  if (signal?.aborted) throw reason(signal);
}

/** The promise's end, or the signal's if that comes first. What the promise stands for goes on. */
export function until<T>(promise: Promise<T>, signal?: AbortSignal | null): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const stop = () => reject(reason(signal));
    if (signal.aborted) stop();
    promise.then(resolve, reject).then(listen(signal, "abort", stop));
  });
}

export function sleep(ms: number, signal?: AbortSignal | null): Promise<void> {
  let timer: ReturnType<typeof setTimeout>;
  const time = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)));
  return until(time, signal).finally(() => clearTimeout(timer));
}

/**
 * Does some work under a signal that follows another one, if that has not
 * aborted, and aborts with TIMEOUT after some milliseconds; that ends the waiting too. `follow`: it
 * follows still when the work is done.
 */
export async function within<T>(
  signal: AbortSignal | null | undefined,
  ms: number,
  work: (signal: AbortSignal) => Promise<T>,
  follow?: boolean,
): Promise<T> {
  check(signal);
  // AbortSignal.any and AbortSignal.timeout are not there in all browsers, nor do fake timers know them.
  const own = new AbortController();
  const timer = setTimeout(() => own.abort(local("TIMEOUT")), Math.min(ms, 2 ** 31 - 1));
  const done = listen(signal, "abort", () => own.abort(reason(signal!)));
  try {
    return await until(work(own.signal), own.signal);
  } finally {
    clearTimeout(timer);
    if (!follow) done();
  }
}
