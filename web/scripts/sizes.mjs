// Fails when the package has grown over its limits (gzip, minified, as an
// application bundles it) or can't be shaken; prints a table beside others.
import * as react from "@holdfast/client/react";
import { bundle } from "./bundle.mjs";

// The core is meant to have 9 KB, and does not: it fails above what it has come
// down to, so that it does not grow, and the table shows the goal beside. What
// counts is what a page loads before it makes a client: enough to restore a
// session, to renew it, to connect and reconnect, to emit and to receive.
const goal = 9 * 1024;
const limits = { core: 11_650, react: 1536 };

const core = ["@holdfast/client", ["createRealtimeClient"]];
const [first, hooked, auth, nothing, socketio, centrifuge] = await Promise.all([
  bundle([core]),
  bundle([core, ["@holdfast/client/react", Object.keys(react)]]),
  bundle([["@holdfast/client", ["AuthManager"]]]),
  bundle([["@holdfast/client", []], ["@holdfast/client/react", []], ["@holdfast/client/compat", []]]),
  bundle([["socket.io-client", ["io"]]]),
  bundle([["centrifuge", ["Centrifuge"]]]),
]);

const kb = (bytes) => `${(bytes / 1024).toFixed(2)} KB`;
const row = (name, bytes, limit) => console.log(`${name.padEnd(58)}${kb(bytes).padStart(9)}${limit ? `  of ${kb(limit)}` : ""}`);
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
// What comes without being asked for: the code for other tabs with an AuthManager's start, that of calls once it is connected.
const soon = sum(["tabs", "http"].map((name) => first.lazy[name]));
row(`@holdfast/client: auth, refresh, socket (goal ${kb(goal)})`, first.bytes, limits.core);
for (const [name, bytes] of Object.entries(first.lazy)) row(`  loaded when it is needed: ${name}`, bytes);
row("  a page that has connected and made an HTTP call has", first.bytes + soon);
row("  the same page, with rooms", first.bytes + soon + first.lazy.rooms);
row("  with all that is loaded when it is needed", first.bytes + sum(Object.values(first.lazy)));
row("@holdfast/client/react adds", hooked.bytes - first.bytes, limits.react);
row("@holdfast/client: AuthManager alone", auth.bytes);
row("socket.io-client: a socket, without a session", socketio.bytes);
row("centrifuge: a socket, without a session", centrifuge.bytes);

const faults = [];
if (first.bytes > limits.core) faults.push(`the core is ${first.bytes - limits.core} bytes over its limit`);
if (hooked.bytes - first.bytes > limits.react) faults.push(`react is ${hooked.bytes - first.bytes - limits.react} bytes over its limit`);
// What an application does not use must not come along: modules that do
// something when they are loaded would.
const strangers = auth.inputs.filter((file) => /\/dist\/(socket|queue|react|compat)\//.test(file));
if (strangers.length) faults.push(`AuthManager alone brings ${strangers.join(", ")}`);
if (auth.code.includes("socket.io")) faults.push("AuthManager alone brings code of the socket");
const left = nothing.inputs.filter((file) => file.includes("/dist/"));
if (left.length) faults.push(`an import of nothing brings ${left.join(", ")}`);
if (faults.length) throw new Error(faults.join("; "));
console.log(`core ${kb(first.bytes)} (goal ${kb(goal)}), react + ${kb(hooked.bytes - first.bytes)}; ${(socketio.bytes / first.bytes).toFixed(2)} times less than socket.io-client, ${(centrifuge.bytes / first.bytes).toFixed(2)} than centrifuge`);
