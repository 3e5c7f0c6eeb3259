import { createRealtimeClient, http, initializeHttp, type RealtimeClientConfig, type Socket } from "@holdfast/client/compat";

const config: RealtimeClientConfig = {
  apiBaseUrl: "https://rt.example.com",
  socketUrl: "https://rt.example.com",
  refresh: { enabled: true, endpoint: "https://rt.example.com/api/realtime/token" },
  socketOptions: { path: "/socket.io/", reconnectionDelay: 100 },
};
initializeHttp(config);
export const client = createRealtimeClient(config);
export const socket: Promise<Socket | null> = client.connect();
export const todos: Promise<string[]> = http.get<string[]>("/api/todos");
client.on<{ id: string }>("todo:created", ({ id }) => id.length);
// @ts-expect-error a path is text
void http.get(1);
