// What was measured, as medians with their spread, and as tables with ratios.

const sorted = (values) => [...values].sort((a, b) => a - b);

/** Of an odd number the one in the middle, of an even one the mean of the two. */
export function median(values) {
  const all = sorted(values);
  const half = all.length >> 1;
  return all.length % 2 ? all[half] : (all[half - 1] + all[half]) / 2;
}

const spread = (values) => ({ median: median(values), min: Math.min(...values), max: Math.max(...values) });

/** By client and figure: the median, the lowest and the highest of all rounds. */
export function summary(results) {
  return Object.fromEntries(
    Object.entries(results).map(([name, all]) => {
      const figures = {
        "first.connected": all.map((r) => r.first.connected),
        "first.joined": all.map((r) => r.first.joined),
        // Of a round its median: one is as good as another.
        "again.connected": all.map((r) => median(r.again.map((t) => t.connected))),
        "again.joined": all.map((r) => median(r.again.map((t) => t.joined))),
        idle: all.map((r) => r.idle),
        heap: all.map((r) => r.heap),
      };
      for (const run of Object.keys(all[0].runs))
        for (const key of Object.keys(all[0].runs[run])) figures[`${run}.${key}`] = all.map((r) => r.runs[run][key]);
      return [name, Object.fromEntries(Object.entries(figures).map(([key, values]) => [key, spread(values)]))];
    }),
  );
}

const units = {
  ms: (v) => v.toFixed(v < 100 ? 1 : 0),
  KB: (v) => (v / 1024).toFixed(v < 100 * 1024 ? 1 : 0),
  MB: (v) => (v / 1024 / 1024).toFixed(2),
};

const rows = [
  ["connected, first in the page", "ms", "first.connected"],
  ["connected, again", "ms", "again.connected"],
  ["and in the room, first", "ms", "first.joined"],
  ["and in the room, again", "ms", "again.joined"],
  ["events at once: CPU of the main thread", "ms", "burst.tasks"],
  ["events at once: of it scripts", "ms", "burst.scripts"],
  ["events at once: until the last", "ms", "burst.wall"],
  ["events at 1,000/s: CPU of the main thread", "ms", "paced.tasks"],
  ["events at 1,000/s: of it scripts", "ms", "paced.scripts"],
  ["events at 1,000/s: until the last", "ms", "paced.wall"],
  ["heap: of a connection, after GC", "KB", "idle"],
  ["heap: growth by events at once, after GC", "KB", "burst.kept"],
  ["heap: growth by events at 1,000/s, after GC", "KB", "paced.kept"],
  ["heap: peak growth while events come at once", "MB", "peak.peak"],
  ["heap: of connection and events, after GC", "KB", "heap"],
];

function table(head, lines) {
  const widths = head.map((_, i) => Math.max(...[head, ...lines].map((line) => line[i].length)));
  const line = (cells) => `| ${cells.map((cell, i) => (i ? cell.padStart(widths[i]) : cell.padEnd(widths[i]))).join(" | ")} |`;
  return [line(head), `|${widths.map((w, i) => (i ? `${"-".repeat(w + 1)}:` : "-".repeat(w + 2))).join("|")}|`, ...lines.map(line)].join("\n");
}

const ratio = (ours, theirs) => (theirs > 0 && ours >= 0 ? (ours / theirs).toFixed(2) : "–");

function measured(summaries) {
  const [ours, ...others] = Object.keys(summaries);
  const lines = rows.filter(([, , key]) => summaries[ours][key]).map(([title, unit, key]) => {
    const cell = (name) => {
      const { median, min, max } = summaries[name][key];
      return `${units[unit](median)} (${units[unit](min)}–${units[unit](max)})`;
    };
    const against = (name) => ratio(summaries[ours][key].median, summaries[name][key].median);
    return [`${title}, ${unit}`, cell(ours), ...others.map(cell), ...others.map(against)];
  });
  return table(["median (lowest–highest)", ours, ...others, ...others.map((name) => `ours : ${name}`)], lines);
}

function sized(sizes) {
  const [ours, ...others] = Object.keys(sizes);
  const lines = [["what a page loads at first", "first"], ["with what it loads when it is needed", "all"]].map(([title, key]) => [
    `${title}, KB`,
    ...[ours, ...others].map((name) => units.KB(sizes[name][key])),
    ...others.map((name) => ratio(sizes[ours][key], sizes[name][key])),
  ]);
  return table(["minified, gzip", ours, ...others, ...others.map((name) => `ours : ${name}`)], lines);
}

/** All of it as Markdown. */
export function report({ date, command, machine, versions, rounds, realRounds, events, frame, sizes, equal, real }) {
  return [
    `${date}, \`${command}\`: ${rounds} rounds of ${events.toLocaleString("en")} events; ${machine}`,
    `${Object.values(versions).slice(0, -2).join(", ")}, Node ${versions.node}, ${versions.go}`,
    `Frames are ${frame.socketio} bytes on average, ${frame.centrifuge} in Centrifugo's protocol.`,
    sized(sizes),
    `One server, which sends each what was encoded before:\n\n${measured(equal)}`,
    `A real Holdfast server, published to over HTTP, ${realRounds} rounds:\n\n${measured(real)}`,
  ].join("\n\n");
}
