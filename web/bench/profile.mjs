// Where a client's time goes: node bench/profile.mjs [holdfast|socketio|centrifuge] [EVENTS]
import { startBrowser } from "./browser.mjs";
import { measure } from "./measure.mjs";
import { pageFiles } from "./page.mjs";
import { startServer } from "./server.mjs";

const [name = "holdfast", events = "50000"] = process.argv.slice(2);
const count = Number(events);
const server = await startServer(await pageFiles({ minify: false }), count);
const browser = await startBrowser();
try {
  const page = await browser.page(server.url);
  await page.session("Profiler.enable");
  await page.session("Profiler.setSamplingInterval", { interval: 200 });
  await page.session("Profiler.start");
  const { runs } = await measure(page, name, { url: server.url, token: "t", count, runs: [{ name: "burst", rate: 0 }], opens: 0, send: server.send });
  const { profile } = await page.session("Profiler.stop");
  const self = new Map();
  const called = new Map(profile.nodes.map((node) => [node.id, node.callFrame]));
  profile.samples.forEach((id, i) => {
    const { functionName, url, lineNumber } = called.get(id);
    const key = `${functionName || "(anonymous)"} ${url.replace(server.url, "")}:${lineNumber + 1}`;
    self.set(key, (self.get(key) ?? 0) + profile.timeDeltas[i] / 1000);
  });
  console.log(`${name}: ${count} events, ${runs.burst.tasks.toFixed(0)} ms of CPU, of it scripts ${runs.burst.scripts.toFixed(0)} ms; self time, ms:`);
  for (const [key, ms] of [...self].sort((a, b) => b[1] - a[1]).slice(0, 25)) console.log(ms.toFixed(1).padStart(8), key);
} finally {
  await browser.close();
  await server.close();
}
