// Compares @holdfast/client with socket.io-client and centrifuge in one page of
// a Chromium: npm run bench -- [--json] [--quick] [--rounds N] [--events N]
import { execFileSync } from "node:child_process";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { startBrowser } from "./browser.mjs";
import { frameSize } from "./events.mjs";
import { measure } from "./measure.mjs";
import { clients, pageFiles, sizes, versions } from "./page.mjs";
import { startHoldfast } from "./real.mjs";
import { startServer } from "./server.mjs";
import { report, summary } from "./report.mjs";

const { values: flags } = parseArgs({
  options: {
    json: { type: "boolean" },
    quick: { type: "boolean" },
    rounds: { type: "string" },
    events: { type: "string" },
  },
});
const rounds = Number(flags.rounds ?? (flags.quick ? 1 : 7));
const count = Number(flags.events ?? (flags.quick ? 1_000 : 10_000));
// As fast as can be, at a pace, and once more with a look at the heap all the
// time, which costs more than what is measured in the others.
const burst = { name: "burst", rate: 0 };
const runs = [burst, { name: "paced", rate: flags.quick ? 5_000 : 1_000 }, { name: "peak", rate: 0, sample: true }];
const opens = flags.quick ? 1 : 10;

const names = Object.keys(clients);
/** Each goes first as often as the others; every other time backwards, so that nobody always follows the same one. */
function orderOf(who, round) {
  const turned = who.map((_, i) => who[(i + round) % who.length]);
  return Math.floor(round / who.length) % 2 ? turned.reverse() : turned;
}

/** Each round has a page of its own, and another order. */
async function play(browser, url, who, rounds, options) {
  const results = Object.fromEntries(who.map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    const page = await browser.page(url);
    const order = orderOf(who, round);
    await page.evaluate(`bench.warm(${JSON.stringify(options.url)})`);
    for (const name of order) results[name].push(await measure(page, name, options));
    await page.close();
    if (!flags.quick) console.error(`round ${round + 1} of ${rounds}: ${order.join(", ")}`);
  }
  return results;
}

const server = await startServer(await pageFiles(), count * runs.length);
const browser = await startBrowser();
let real;
try {
  const equal = await play(browser, server.url, names, rounds, { url: server.url, token: "t", count, runs, opens, send: server.send });
  if (flags.quick) {
    console.log(`${names.length} clients have received ${count * runs.length} events each, in their order`);
  } else {
    real = await startHoldfast(server.url);
    const { url, token, send } = real;
    const options = { url, token, count, runs: [burst], opens, send, unordered: true };
    const against = await play(browser, server.url, ["holdfast", "socketio"], Math.min(rounds, 4), options);
    const of = (command, args) => execFileSync(command, args, { encoding: "utf8" }).trim();
    const told = {
      date: new Date().toISOString().slice(0, 10),
      command: ["npm run bench", ...(process.argv.length > 2 ? ["--", ...process.argv.slice(2)] : [])].join(" "),
      machine: `${cpus().length} × ${cpus()[0].model}, ${process.platform}`,
      versions: { ...versions(), browser: browser.version, node: process.version, go: of("go", ["env", "GOVERSION"]) },
      rounds,
      realRounds: Math.min(rounds, 4),
      events: count,
      frame: { socketio: frameSize("socketio"), centrifuge: frameSize("centrifuge") },
      sizes: await sizes(),
      equal: summary(equal),
      real: summary(against),
    };
    console.log(flags.json ? JSON.stringify(told, null, 2) : report(told));
  }
} finally {
  await browser.close();
  await server.close();
  await real?.close();
}
