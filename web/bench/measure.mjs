// What is measured of one client in one page.
import { event, room } from "./events.mjs";

const js = JSON.stringify;

/**
 * Opens the client, has `count` events sent to it in each of `runs` by
 * `send(from, to, rate)` (events a second; 0: as fast as can be), and opens it
 * `opens` times more.
 * Fails unless each event has come once, and in its order if the server sends
 * them in order. Times are milliseconds, memory is bytes.
 */
export async function measure(page, name, { url, token, count, runs, opens, send, unordered }) {
  const options = { url, token, room, event, unordered, total: count * runs.length };
  const open = () => page.evaluate(`bench.openClient(${js(name)}, ${js(options)})`);
  const result = { name, runs: {} };
  const before = await page.heap();
  result.first = await open();
  result.idle = (await page.heap()) - before;
  let n = 0;
  for (const { name: run, rate, sample = false } of runs) {
    const low = await page.heap();
    const floor = await page.evaluate(`bench.expect(${n + count}, ${sample})`);
    const cpu = await page.cpu();
    const began = performance.now();
    const sent = send(n, (n += count), rate);
    const peak = await page.evaluate("bench.received()");
    const wall = performance.now() - began;
    const after = await page.cpu();
    await sent;
    result.runs[run] = {
      wall,
      tasks: after.tasks - cpu.tasks,
      scripts: after.scripts - cpu.scripts,
      peak: peak - floor,
      kept: (await page.heap()) - low,
    };
  }
  result.heap = (await page.heap()) - before;
  const { count: came, fault } = await page.evaluate("bench.close()");
  if (fault || came !== n) throw new Error(`${name}: ${fault ?? `${came} events came, ${n} were sent`}`);
  result.again = [];
  for (let i = 0; i < opens; i++) {
    result.again.push(await open());
    await page.evaluate("bench.close()");
  }
  return result;
}
