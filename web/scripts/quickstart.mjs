// Does what the quickstart of docs/browser.md says, with its own commands and
// code, and sees an event appear in Chromium. Needs Go, Chromium, and the
// network for Vite's template and its packages. With --screenshot=FILE it keeps
// a picture of the page.
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { web } from "./bundle.mjs";
import { blocks, pages } from "./docs.mjs";
import { pack } from "./pack.mjs";

const shown = blocks(pages.browser).filter((one) => one.section === "quickstart");
const [create, serve, , publish] = shown.filter((one) => one.language === "sh").map((one) => one.text);
const app = shown.find((one) => one.file === "src/App.tsx").text;
const lines = app.split("\n").filter((line) => line.trim()).length - 1; // without its name
if (lines > 30) throw new Error(`src/App.tsx has ${lines} lines of code`);

const place = mkdtempSync(join(tmpdir(), "holdfast-quickstart-"));
const began = performance.now();
const say = (text) => console.log(`quickstart: ${((performance.now() - began) / 1000).toFixed(1)} s: ${text}`);
const children = [];

const freePort = () =>
  new Promise((resolve) => {
    const taken = createServer().listen(0, "127.0.0.1", () => {
      const { port } = taken.address();
      taken.close(() => resolve(port));
    });
  });

// Those of the manual may be taken on this machine.
const ports = { 8080: await freePort(), 5173: await freePort() };
const here = (text) => text.replace(/\b(127\.0\.0\.1|localhost):(8080|5173)\b/g, (_, host, port) => `${host}:${ports[port]}`);

const env = { ...process.env, PATH: `${place}:${process.env.PATH}`, npm_config_prefer_offline: "true", npm_config_update_notifier: "false", npm_config_audit: "false", npm_config_fund: "false", npm_config_loglevel: "error" };

/** Runs lines of shell to their end. */
function run(script, cwd) {
  try {
    return execFileSync("bash", ["-euo", "pipefail", "-c", here(script)], { cwd, env, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  } catch (error) {
    throw new Error(`${script}\n${error.stdout}${error.stderr}`);
  }
}

/** Starts what stays up, and waits until it has said what it should. */
function start(script, cwd, ready) {
  const child = spawn("bash", ["-c", `exec ${here(script)}`], { cwd, env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  children.push(child);
  return new Promise((resolve, reject) => {
    let out = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (data) => {
        out += data;
        if (ready.test(out)) resolve();
      });
    }
    child.on("exit", () => reject(new Error(`${script} ended:\n${out}`)));
  });
}

/** Asks until the answer is the right one. */
async function until(what, ask) {
  for (let tries = 0; tries < 100; tries++) {
    if (await ask()) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`${what}: not within 20 s`);
}

async function inBrowser() {
  const options = { executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: process.getuid?.() === 0 ? ["--no-sandbox"] : [] };
  const browser = await chromium.launch(options);
  try {
    const page = await browser.newPage({ viewport: { width: 800, height: 400 } });
    const errors = [];
    page.on("pageerror", (error) => errors.push(error.message));
    await page.goto(`http://localhost:${ports[5173]}`);
    await page.fill("[name=email]", "ann@example.com");
    await page.fill("[name=password]", "correct horse battery");
    await page.click("button");
    await page.getByText("connected", { exact: true }).waitFor();
    say("signed up, and connected");
    await page.reload();
    await page.getByText("connected", { exact: true }).waitFor();
    say("connected again after a reload");

    const [mint, ...emit] = publish.trim().split("\n");
    const server = `${place}/server`;
    run(mint, server);
    // The page has joined when it is listed.
    const headers = { Authorization: `Bearer ${run("cat alice.token", server).trim()}` };
    await until("the page is in the room", async () => (await (await fetch(here("http://127.0.0.1:8080/api/rooms/lobby/presence"), { headers })).json()).viewers === 1);
    run(emit.join("\n"), server);
    await page.locator("li", { hasText: /^hello$/ }).waitFor();
    say("the event is in the page");
    const picture = process.argv.find((arg) => arg.startsWith("--screenshot="));
    if (picture) await page.screenshot({ path: picture.slice("--screenshot=".length) });
    if (errors.length) throw new Error(errors.join("\n"));
  } finally {
    await browser.close();
  }
}

try {
  execFileSync("npm", ["run", "build", "--silent"], { cwd: web, stdio: ["ignore", "ignore", "inherit"] });
  const { tarball } = pack(place);
  execFileSync("go", ["build", "-o", `${place}/holdfast`, "./cmd/holdfast"], { cwd: `${web}/..`, stdio: "inherit" });
  run(create.replace("npm install @holdfast/client", `npm install ${tarball}`), place);
  say("the template and the packages are there");
  writeFileSync(`${place}/hello/src/App.tsx`, here(app));
  run("npm run build", `${place}/hello`);
  say(`the application is built: ${lines} lines`);
  mkdirSync(`${place}/server`);
  await start(`${serve.trim()} --addr 127.0.0.1:8080 --admin-addr off`, `${place}/server`, /listening on/);
  await start("npx --no-install vite preview --host localhost --strictPort --port 5173".replace("5173", ports[5173]), `${place}/hello`, /http:\/\/localhost/);
  await inBrowser();
} finally {
  for (const child of children) {
    child.removeAllListeners("exit");
    try {
      process.kill(-child.pid);
    } catch {
      // it has ended
    }
  }
  rmSync(place, { recursive: true, force: true });
}
