// A user's day: signs up and in at Better Auth, gets a token, listens to the
// own todos, makes one, signs out. "node client.mjs jwks" takes the token of
// Better Auth's jwt plugin; without jwks it is Holdfast's own.
import { io } from "socket.io-client";

const { APP_URL = "http://127.0.0.1:3000", REALTIME_URL = "http://127.0.0.1:8080" } = process.env;
const jwks = process.argv[2] === "jwks";
const account = { email: `ada-${Date.now()}@example.org`, password: "correct horse battery", name: "Ada" };

let cookie = "";

// call sends JSON with the session's cookie, as a browser would.
async function call(method, url, body) {
  const response = await fetch(url, {
    method,
    headers: { origin: new URL(url).origin, cookie, ...(body && { "content-type": "application/json" }) },
    body: body && JSON.stringify(body),
  });
  const set = response.headers.getSetCookie();
  if (set.length) cookie = set.map((line) => line.split(";")[0]).join("; ");
  return { status: response.status, body: await response.json().catch(() => null) };
}

async function must(method, url, body) {
  const answer = await call(method, url, body);
  if (answer.status >= 300) throw new Error(`${method} ${url}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}

const fetchToken = () =>
  jwks ? call("GET", `${APP_URL}/api/auth/token`) : call("POST", `${REALTIME_URL}/api/realtime/token`);

const once = (socket, event) =>
  new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`no ${event} within 10 s`)), 10_000).unref();
    socket.once(event, (...args) => resolve(args));
  });

await must("POST", `${APP_URL}/api/auth/sign-up/email`, account);
cookie = "";
const { user } = await must("POST", `${APP_URL}/api/auth/sign-in/email`, account);
console.log(`signed in as ${user.name}`);

const socket = io(REALTIME_URL, {
  // Called for each connection, so that each has a fresh token.
  auth: async (send) => {
    const { body } = await fetchToken();
    send({ token: body?.accessToken ?? body?.token });
  },
});
socket.on("connect_error", (error) => console.log(`refused: ${error.message}`));
const [session] = await once(socket, "auth:session");
console.log(`connected as ${session.user.name}, for ${Math.ceil(session.expiresIn / 60)} minutes`);

const joined = await socket.emitWithAck("room:join", { room: `todos:${user.id}` });
const other = await socket.emitWithAck("room:join", { room: "todos:of-somebody-else" });
console.log(`own room: ${joined.ok}; somebody else's: ${other.error?.code}`);

const created = once(socket, "todo:created");
await must("POST", `${APP_URL}/api/todos`, { title: "write it down" });
const [todo, meta] = await created;
console.log(`todo ${todo.id} "${todo.title}" came at offset ${meta.offset} of the own room: ${meta.room === `todos:${user.id}`}`);

const closing = once(socket, "auth:closing");
const kept = cookie;
await must("POST", `${APP_URL}/api/auth/sign-out`, {});
const [{ code }] = await closing;
socket.close();
console.log(`signed out: the connection was closed with ${code}`);

cookie = kept; // as a thief would
console.log(`another token: ${(await fetchToken()).status}`);
