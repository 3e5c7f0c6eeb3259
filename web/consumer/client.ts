import {
  AuthManager,
  createRealtimeClient,
  HoldfastError,
  type ConnectionState,
  type EventMeta,
  type RealtimeClient,
  type TokenSource,
} from "@holdfast/client";

export interface Todo {
  id: string;
  title: string;
}

/** The events of this application. */
export interface Events {
  [event: string]: unknown;
  "todo:created": Todo;
  "todo:deleted": { id: string };
}

/** Without other events: names are checked as well. */
type Strict = { "todo:created": Todo; "todo:deleted": { id: string } };

export const client: RealtimeClient<Events> = createRealtimeClient<Events>({
  url: "https://rt.example.com",
  auth: { storage: "sessionStorage", inactivityTimeout: 900_000, onUnauthorized: (error) => console.log(error.code) },
  http: { timeout: 10_000, trustedOrigins: ["https://api.example.com"] },
  socket: { queue: { maxItems: 50, onDropped: (item) => console.log(item.event) }, transports: ["websocket"] },
});

const strict = createRealtimeClient<Strict>({ url: "https://rt.example.com", authToken: async () => null });

export async function use(signal: AbortSignal): Promise<void> {
  const { socket, http } = client;
  const off: () => void = socket.on("todo:created", (todo, meta) => {
    const title: string = todo.title;
    const room: string | undefined = (meta satisfies EventMeta).room;
    console.log(title, room);
  });
  const todos = await http.get<Todo[]>("/api/todos", { query: { done: false }, signal });
  const made = await socket.emitAck<Todo>("todo:create", todos[0], { signal, timeout: 1000 });
  const room = socket.join("board", { presence: { status: "here" } });
  room.on("todo:deleted", ({ id }) => console.log(id.toUpperCase()));
  const { epoch, offset } = await room.publish("todo:created", made);
  console.log(epoch.length + offset);
  off();
  try {
    await socket.connect(signal);
  } catch (error) {
    if (error instanceof HoldfastError && error.code === "FORBIDDEN") return;
    throw error;
  }
  const state: ConnectionState = socket.state;
  const id: string | undefined = state.error?.requestId;
  console.log(id);

  // @ts-expect-error the data of this event is a Todo
  strict.socket.on("todo:created", (count: number) => count);
  // @ts-expect-error there is no such event
  strict.socket.on("todo:updated", () => {});
  // @ts-expect-error a Todo has a title
  strict.socket.join("board").publish("todo:created", { id: "1" });
  // @ts-expect-error nor has this one
  strict.socket.once("todo:deleted", ({ title }) => title);
  // @ts-expect-error the state is not to be written to
  state.connected = true;
  // @ts-expect-error a code that there is not
  if ((state.error as HoldfastError).code === "NO_SUCH_CODE") return;
  // @ts-expect-error a storage that there is not
  createRealtimeClient({ auth: { storage: "cookie" } });
  // @ts-expect-error the application's token has no AuthManager
  strict.auth.clear();
}

/** An AuthManager stands for itself, and is a source of tokens. */
export const auth: TokenSource = new AuthManager({ refreshFn: async (token) => ({ accessToken: `${token}` }) });
