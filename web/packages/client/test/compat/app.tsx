// The todo page of realtimehttpauthclient's manual, in short. It is compiled
// and run as it is, and again with "realtimehttpauthclient" meaning ./compat:
// that one import is all that a migration changes.
import { useEffect, useState } from "react";
import {
  createRealtimeClient,
  RealtimeProvider,
  useHttpClient,
  useRoomEvent,
  useSocketClient,
  useSocketEvent,
  type RealtimeClient,
  type RealtimeClientConfig,
} from "realtimehttpauthclient";

export interface Todo {
  id: string;
  title: string;
  completed: boolean;
}

/** The client of the manual: cookies say who it is, a token is got with them and kept. */
export function makeClient(url: string, kept: Map<string, string>, more: Partial<RealtimeClientConfig> = {}): RealtimeClient {
  return createRealtimeClient({
    apiBaseUrl: url,
    socketUrl: url,
    withCredentials: true,
    persistToken: false,
    getAccessToken: async () => kept.get("app_access_token") ?? null,
    setAccessToken: (token) => {
      if (token) kept.set("app_access_token", token);
      else kept.delete("app_access_token");
    },
    csrf: { enabled: true, fetchEndpoint: "/api/auth/csrf" },
    refresh: { enabled: true, endpoint: `${url}/api/realtime/token`, method: "POST" },
    rooms: { autoRejoin: true },
    socketOptions: { reconnectionDelay: 20, reconnectionDelayMax: 50 },
    ...more,
  });
}

function Todos() {
  const http = useHttpClient();
  const { connected, emit, emitAck } = useSocketClient();
  const [todos, setTodos] = useState<Todo[]>([]);
  const [said, setSaid] = useState("");

  useEffect(() => {
    void http.get<Todo[]>("/api/todos").then(setTodos);
  }, [http]);
  useSocketEvent<Todo>("todo:created", (todo) => setTodos((all) => [todo, ...all]));
  useSocketEvent<Todo>("todo:updated", (todo) => setTodos((all) => all.map((t) => (t.id === todo.id ? todo : t))));
  useSocketEvent<{ id: string }>("todo:deleted", ({ id }) => setTodos((all) => all.filter((t) => t.id !== id)));
  useRoomEvent<string>("board", "said", setSaid);

  const create = async () => {
    const todo = await http.post<Todo, { title: string }>("/api/todos", { title: `todo ${todos.length + 1}` });
    emit("todo:create", todo);
  };
  const ask = async () => setSaid(await emitAck<string>("ask", { q: 1 }).catch((error: Error) => error.message));
  return (
    <div>
      <p role="status">{connected ? "connected" : "offline"}</p>
      <p role="note">{said}</p>
      <button onClick={create}>Add</button>
      <button onClick={ask}>Ask</button>
      {todos.map((todo) => (
        <label key={todo.id}>
          <input
            type="checkbox"
            checked={todo.completed}
            onChange={(e) => http.patch(`/api/todos/${todo.id}`, { completed: e.target.checked })}
          />
          {todo.title}
          <button onClick={() => http.delete(`/api/todos/${todo.id}`)}>Delete {todo.id}</button>
        </label>
      ))}
    </div>
  );
}

export function App({ client }: { client: RealtimeClient }) {
  return (
    <RealtimeProvider client={client} autoConnect={true}>
      <Todos />
    </RealtimeProvider>
  );
}
