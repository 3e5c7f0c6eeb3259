import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { WebSocketServer, type WebSocket } from "ws";
import type { Todo } from "./app.js";

/** A server as the manual's: todos by HTTP, and changes told over Socket.IO. It is no Holdfast. */
export async function startServer() {
  const todos: Todo[] = [];
  /** What happened, in order: calls as "METHOD path status", and events that came in. */
  const log: string[] = [];
  let tokens = 0; // of those that were made the last one is good
  let ids = 0;
  const state = { acks: (_event: string, _data: any): unknown => ({ ok: true, data: "answer" }), cookie: true };

  const http = createServer(async (req, res) => {
    const path = req.url!;
    const answer = (status: number, body: unknown, headers = {}) => {
      if (req.method !== "OPTIONS") log.push(`${req.method} ${path} ${status}`);
      res.writeHead(status, { "Content-Type": "application/json", ...headers });
      res.end(JSON.stringify(body));
    };
    const text = await new Promise<string>((resolve) => {
      let all = "";
      req.on("data", (chunk) => (all += chunk)).on("end", () => resolve(all));
    });
    if (path === "/api/auth/csrf") return answer(200, {}, { "X-CSRF-Token": "guard" });
    if (path === "/api/realtime/token") {
      return state.cookie ? answer(200, { accessToken: `t${++tokens}` }) : answer(401, { error: "no session" });
    }
    if (!good(req.headers.authorization?.slice(7))) return answer(401, { message: "no token" });
    if (req.method !== "GET" && req.headers["x-csrf-token"] !== "guard") return answer(403, { message: "no guard" });
    if (req.method === "GET") return answer(200, todos);
    if (req.method === "POST") {
      const todo = { id: `${++ids}`, completed: false, ...JSON.parse(text) };
      todos.unshift(todo);
      tell("todo:created", todo);
      return answer(201, todo);
    }
    const at = todos.findIndex((todo) => path.endsWith(`/${todo.id}`));
    if (at < 0) return answer(404, { error: "Not found" });
    if (req.method === "DELETE") {
      tell("todo:deleted", { id: todos.splice(at, 1)[0]!.id });
      return answer(200, { ok: true });
    }
    Object.assign(todos[at]!, JSON.parse(text));
    tell("todo:updated", todos[at]);
    answer(200, todos[at]);
  });

  const good = (token: unknown) => tokens > 0 && token === `t${tokens}`;
  const inside = new Map<WebSocket, Set<string>>(); // and the rooms of each
  const frame = (...args: unknown[]) => `42${JSON.stringify(args)}`;
  const tell = (event: string, data: unknown, room?: string) => {
    for (const [ws, rooms] of inside) if (!room || rooms.has(room)) ws.send(frame(event, data));
  };
  const sockets = new WebSocketServer({ server: http });
  sockets.on("connection", (ws: WebSocket, _req: IncomingMessage) => {
    ws.send('0{"sid":"e1","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":100000}');
    ws.on("close", () => inside.delete(ws));
    ws.on("message", (data) => {
      const text = String(data);
      if (text.startsWith("40")) {
        const { token } = JSON.parse(text.slice(2) || "{}");
        log.push(`CONNECT ${good(token)}`);
        if (!good(token)) return ws.send('44{"message":"Unauthorized"}');
        inside.set(ws, new Set());
        ws.send('40{"sid":"c1"}');
      } else if (text.startsWith("42")) {
        const [, id, json] = /^42(\d*)(.*)$/s.exec(text)!;
        const [event, payload] = JSON.parse(json!);
        log.push(`${event} ${JSON.stringify(payload)}`);
        if (event === "room:join") inside.get(ws)?.add(payload.room);
        else if (event === "room:leave") inside.get(ws)?.delete(payload.room);
        else if (id) ws.send(`43${id}${JSON.stringify([state.acks(event, payload)])}`);
      } else if (text.startsWith("41")) ws.close();
    });
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    log,
    state,
    tell,
    /** Makes the token that was given last worthless. */
    expire: () => void tokens++,
    /** Ends the connections, as a network that goes. */
    drop: () => [...inside.keys()].forEach((ws) => ws.terminate()),
    connections: () => inside.size,
    stop: async () => {
      for (const ws of sockets.clients) ws.terminate();
      await new Promise((resolve) => (http.close(resolve), http.closeAllConnections()));
    },
  };
}
