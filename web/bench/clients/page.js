// The page's side: opens one client at a time, counts and checks what it gets.
// It is the same for all clients, and so is what it costs.

const clients = {};
let now; // the client that is open, and what it has received

const heap = () => performance.memory.usedJSHeapSize;

function within(ms, otherwise, run) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(otherwise)), ms);
    const settle = (fn) => (value) => (clearTimeout(timer), fn(value));
    run(settle(resolve), settle(reject));
  });
}

/** Resolves with milliseconds from before the construction until it was connected, and until it had joined. */
function openClient(name, options) {
  const state = (now = { next: 0, goal: Infinity, peak: 0, seen: new Uint8Array(options.total) });
  return within(20_000, `${name} has not connected and joined`, (resolve, reject) => {
    const times = {};
    const began = performance.now();
    const at = (what) => () => {
      times[what] ??= performance.now() - began;
      if (times.connected !== undefined && times.joined !== undefined) resolve(times);
    };
    state.close = clients[name](options, {
      connected: at("connected"),
      joined: at("joined"),
      failed: reject,
      received({ n }) {
        if (options.unordered) {
          if (state.seen[n]++) state.fault ??= `event ${n} came twice`;
        } else if (n !== state.next) state.fault ??= `event ${state.next} was expected, ${n} came`;
        state.next++;
        if (state.sample && state.next % 250 === 0) state.peak = Math.max(state.peak, heap());
        if (state.fault || state.next >= state.goal) state.done?.();
      },
    });
  });
}

/** Has the browser connect to the server once, so that its own first time is not the first client's. */
const warm = (url) =>
  new Promise((resolve, reject) => {
    const ws = new WebSocket(`${url.replace(/^http/, "ws")}/socket.io/?EIO=4&transport=websocket`);
    ws.onmessage = () => ws.close();
    ws.onclose = resolve;
    ws.onerror = reject;
  });

/** Until so many have come in all; `sample`: the heap is looked at meanwhile. */
function expect(goal, sample) {
  now.goal = goal;
  now.sample = sample;
  now.peak = heap();
  return now.peak;
}

/** Resolves when they have come, or something is wrong with them: `close` tells. */
async function received() {
  const state = now;
  if (!state.fault && state.next < state.goal)
    await within(60_000, `not all of ${state.goal} events came`, (resolve) => (state.done = resolve));
  return state.peak;
}

globalThis.bench = {
  clients,
  warm,
  openClient,
  expect,
  received,
  /** How many came in all, and what was wrong with them. */
  close() {
    now.close();
    const { next, fault } = now;
    now = undefined;
    return { count: next, fault };
  },
};
