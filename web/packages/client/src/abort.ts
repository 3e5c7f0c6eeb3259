import { HoldfastError } from "./errors.js";

/** Why a signal has aborted. */
export function reason(signal: AbortSignal): HoldfastError {
  const cause = signal.reason;
  if (cause instanceof HoldfastError) return cause;
  return new HoldfastError(cause?.name === "TimeoutError" ? "TIMEOUT" : "CANCELED", "Canceled", { cause });
}

/** The promise's end, or the signal's if that comes first. What the promise stands for goes on. */
export function until<T>(promise: Promise<T>, signal?: AbortSignal | null): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const stop = () => reject(reason(signal));
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop);
    const done = () => signal.removeEventListener("abort", stop);
    promise.then(resolve, reject).then(done);
  });
}

export function sleep(ms: number, signal?: AbortSignal | null): Promise<void> {
  let timer: ReturnType<typeof setTimeout>;
  const time = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)));
  return until(time, signal).finally(() => clearTimeout(timer));
}

/**
 * A signal that follows another one, and aborts with TIMEOUT after some
 * milliseconds. `done` ends the timer, and unless `follow` the following too.
 */
export function limit(
  signal: AbortSignal | null | undefined,
  ms: number,
): { signal: AbortSignal; done: (follow?: boolean) => void } {
  // AbortSignal.any and AbortSignal.timeout are not there in all browsers, nor do fake timers know them.
  const own = new AbortController();
  const stop = () => own.abort(reason(signal!));
  const timer = setTimeout(
    () => own.abort(new HoldfastError("TIMEOUT", "No answer in time")),
    Math.min(ms, 2 ** 31 - 1),
  );
  if (signal?.aborted) stop();
  signal?.addEventListener("abort", stop);
  return {
    signal: own.signal,
    done(follow) {
      clearTimeout(timer);
      if (!follow) signal?.removeEventListener("abort", stop);
    },
  };
}
