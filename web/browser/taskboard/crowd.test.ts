import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { expect, inject, test } from "vitest";
import { stage } from "./stage.js";

const board = stage();

// `npm run crowd` is the long form. In the short one fewer people come, as making accounts takes most of its time.
const long = !!process.env["HOLDFAST_LONG"];
const people = Number(process.env["CROWD"] ?? (long ? 100 : 40));
const seconds = Number(process.env["CROWD_SECONDS"] ?? (long ? 120 : 10));

/** Processor time that a process has had so far, in seconds; Linux tells. */
const spent = (pid: number): number => {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return NaN;
  }
};

const at = (sorted: number[], part: number) => sorted[Math.floor(part * (sorted.length - 1))] ?? NaN;

test(`${people} people on one board for ${seconds} s: the page has all that they did`, async () => {
  const ada = await board.person("Ada");
  const { board: made } = await ada.board("Town hall");
  const link = await ada.call<{ token: string }>("POST", `/api/boards/${made.id}/links`, { role: "editor" });
  const page = await ada.open(`#/b/${made.id}`);
  await page.getByRole("heading", { name: "Town hall" }).waitFor();

  const crowd = spawn(inject("crowd"), ["-url", board.url, "-link", link.token, "-people", `${people}`, "-for", `${seconds}s`], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(crowd, "close");
  const lines = createInterface({ input: crowd.stdout })[Symbol.asyncIterator]();
  expect((await lines.next()).value).toBe("ready");

  await page.evaluate(() => {
    const seen = ((globalThis as any).seen = { frames: [] as number[], tasks: [] as number[], pointers: 0 });
    new PerformanceObserver((list) => void seen.tasks.push(...list.getEntries().map(({ duration }) => duration))).observe({ type: "longtask" });
    let last = performance.now();
    const frame = (now: number) => {
      seen.frames.push(now - last);
      last = now;
      seen.pointers = Math.max(seen.pointers, document.querySelectorAll(".pointer").length);
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  });
  // Processor time of the page's own thread, which other programs on the machine don't change.
  const cdp = await page.context().newCDPSession(page);
  await cdp.send("Performance.enable", { timeDomain: "threadTicks" });
  const parts = ["TaskDuration", "ScriptDuration", "LayoutDuration", "RecalcStyleDuration"];
  const used = async () => {
    const { metrics } = await cdp.send("Performance.getMetrics");
    return [spent(board.pid), ...parts.map((part) => metrics.find(({ name }) => name === part)!.value)];
  };
  const [before, began] = [await used(), performance.now()];
  const done = JSON.parse((await lines.next()).value!);
  const lasted = (performance.now() - began) / 1000;
  const [server, main, ...inside] = (await used()).map((seconds, i) => `${((100 * (seconds - before[i]!)) / lasted).toFixed(1)} %`);
  expect(await ended).toEqual([0, null]);
  const seen = await page.evaluate(() => (globalThis as any).seen as { frames: number[]; tasks: number[]; pointers: number });

  const frames = seen.frames.sort((a, b) => a - b);
  const [p50, p95, p99] = [0.5, 0.95, 0.99].map((part) => at(frames, part).toFixed(1));
  const tasks = seen.tasks.reduce((sum, ms) => sum + ms, 0);
  console.log(
    `${people} people, ${seconds} s: frames ${frames.length}, p50 ${p50}, p95 ${p95}, p99 ${p99}, longest ${at(frames, 1).toFixed(1)} ms; ` +
      `long tasks ${seen.tasks.length}, ${tasks.toFixed(0)} ms in all, longest ${Math.max(0, ...seen.tasks).toFixed(0)} ms; ` +
      `of a core: page ${main} (script, layout, style: ${inside.join(", ")}), server ${server}; ` +
      `${done.writes} writes (acks p50 ${done.ackMedian}, p95 ${done.ackP95} ms; ${done.refusals} refused), ${done.signals} signals, ${done.events} events received by the crowd`,
  );

  // The page shows what the server has: nothing was lost, and nothing is there twice.
  const state = await ada.state(made.id);
  const wanted = state.cards.map(({ id }) => id).sort();
  expect(done.writes).toBeGreaterThan(0);
  await expect.poll(() => page.locator("[data-card]").evaluateAll((cards) => cards.map((card) => (card as HTMLElement).dataset["card"]).sort())).toEqual(wanted);
  expect(seen.pointers).toBeGreaterThan(people / 2);
}, 400_000);
