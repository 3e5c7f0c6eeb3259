// Identity and a todo API: Better Auth and Hono. What happens to a user's
// todos is published to Holdfast, which has the connections.
import { serve } from "@hono/node-server";
import { betterAuth } from "better-auth";
import { memoryAdapter } from "better-auth/adapters/memory";
import { jwt } from "better-auth/plugins";
import { Hono } from "hono";

const { HOLDFAST_URL = "http://127.0.0.1:8080", HOLDFAST_API_KEY, BETTER_AUTH_SECRET, PORT = "3000" } = process.env;
for (const [name, value] of Object.entries({ HOLDFAST_API_KEY, BETTER_AUTH_SECRET })) {
  if (!value) {
    console.error(`${name} is not set; README.md says how`);
    process.exit(2);
  }
}

// Each user's todos have a room of their own.
const roomOf = (userId) => `todos:${userId}`;

// holdfast calls the realtime server as a backend. If it can't be reached,
// what was done here stays done: a connection ends with its token anyway.
async function holdfast(path, body) {
  try {
    const response = await fetch(`${HOLDFAST_URL}/api/${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${HOLDFAST_API_KEY}`, "content-type": "application/json" },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(5000),
    });
    if (!response.ok) console.error(`holdfast ${path}: ${response.status} ${await response.text()}`);
  } catch (error) {
    console.error(`holdfast ${path}: ${error.message}`);
  }
}

const makeAuth = (baseURL) =>
  betterAuth({
    baseURL, // always set it: tokens carry it as iss and aud
    secret: BETTER_AUTH_SECRET,
    database: memoryAdapter({ user: [], session: [], account: [], verification: [], jwks: [] }),
    emailAndPassword: { enabled: true },
    rateLimit: { enabled: true }, // by the address in X-Forwarded-For, which Holdfast sends
    databaseHooks: {
      session: {
        // A session that ends here ends its connections there, at once.
        delete: { after: (session) => holdfast("connections/close", { session: session.id }) },
      },
    },
    plugins: [
      jwt({
        jwt: {
          // Without definePayload the token has every field of the user.
          definePayload: ({ user, session }) => ({
            name: user.name,
            email: user.email,
            sid: session.id,
            permissions: { rooms: [roomOf(user.id)] },
          }),
        },
      }),
    ],
  });

function makeApp(auth) {
  const app = new Hono();
  app.on(["GET", "POST"], "/api/auth/*", (c) => auth.handler(c.req.raw));

  app.use("/api/todos/*", async (c, next) => {
    const session = await auth.api.getSession({ headers: c.req.raw.headers });
    if (!session) return c.json({ error: "Unauthorized" }, 401);
    c.set("user", session.user);
    await next();
  });
  const todos = new Map(); // by id
  let lastId = 0;
  const own = (c) => [...todos.values()].filter((todo) => todo.userId === c.get("user").id);
  const find = (c) => own(c).find((todo) => todo.id === Number(c.req.param("id")));

  app.get("/api/todos", (c) => c.json(own(c)));
  app.post("/api/todos", async (c) => {
    const { title } = await c.req.json().catch(() => ({}));
    if (typeof title !== "string" || !title || title.length > 200) return c.json({ error: "a todo needs a title" }, 400);
    const todo = { id: ++lastId, title, completed: false, userId: c.get("user").id };
    todos.set(todo.id, todo);
    await holdfast(`rooms/${encodeURIComponent(roomOf(todo.userId))}/events`, { event: "todo:created", data: todo });
    return c.json(todo, 201);
  });
  app.patch("/api/todos/:id", async (c) => {
    const todo = find(c);
    if (!todo) return c.json({ error: "Not found" }, 404);
    const { completed } = await c.req.json().catch(() => ({}));
    todo.completed = completed === true;
    await holdfast(`rooms/${encodeURIComponent(roomOf(todo.userId))}/events`, { event: "todo:updated", data: todo });
    return c.json(todo);
  });
  app.delete("/api/todos/:id", async (c) => {
    const todo = find(c);
    if (!todo) return c.json({ error: "Not found" }, 404);
    todos.delete(todo.id);
    await holdfast(`rooms/${encodeURIComponent(roomOf(todo.userId))}/events`, { event: "todo:deleted", data: { id: todo.id } });
    return c.json({ ok: true });
  });
  return app;
}

// The port is known once the server listens, and nobody asks before that.
let app;
serve({ fetch: (request, env) => app.fetch(request, env), hostname: "127.0.0.1", port: Number(PORT) }, ({ port }) => {
  const url = `http://127.0.0.1:${port}`;
  app = makeApp(makeAuth(url));
  console.log(`listening on ${url}`);
});
