// What a User-Agent header means, for people. Browsers disguise themselves as
// one another, so that the order matters.
const programs: [RegExp, string][] = [
  [/Edg(?:e|A|iOS)?\//, "Edge"],
  [/OPR\/|Opera/, "Opera"],
  [/SamsungBrowser\//, "Samsung Internet"],
  [/Firefox\/|FxiOS\//, "Firefox"],
  [/HeadlessChrome\/|Chrome\/|CriOS\/|Chromium\//, "Chrome"],
  [/Safari\//, "Safari"],
  [/^curl\//, "curl"],
  [/^holdfast/i, "The holdfast command"],
  [/^Go-http-client\//, "A Go program"],
  [/^node|^undici/i, "A Node program"],
  [/^python/i, "A Python program"],
];

const systems: [RegExp, string][] = [
  [/iPhone|iPod/, "iPhone"],
  [/iPad/, "iPad"],
  [/Android/, "Android"],
  [/CrOS/, "ChromeOS"],
  [/Windows/, "Windows"],
  [/Mac OS X|Macintosh/, "Mac"],
  [/Linux|X11/, "Linux"],
];

const find = (list: [RegExp, string][], agent: string) => list.find(([pattern]) => pattern.test(agent))?.[1];

/** The program and the system of a User-Agent, such as "Firefox on Linux". */
export function agentName(agent = ""): string {
  const program = find(programs, agent) ?? (agent ? agent.split(/[\s/]/, 1)[0]! : "An unknown program");
  const system = find(systems, agent);
  return system ? `${program} on ${system}` : program;
}

/** Whether it is a telephone or tablet. */
export const isHandheld = (agent = ""): boolean => /iPhone|iPad|iPod|Android/.test(agent);
