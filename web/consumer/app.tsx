import {
  AuthGuard,
  RealtimeProvider,
  RoleGuard,
  useAuth,
  useConnectionState,
  useCursors,
  usePresence,
  useRoomEvent,
  useSocketClient,
  useSocketEvent,
  useTyping,
} from "@holdfast/client/react";
import { useState } from "react";
import { client, type Todo } from "./client.js";

declare module "@holdfast/client/react" {
  interface Register {
    events: { "todo:created": Todo; "todo:deleted": { id: string } };
  }
}

function Todos() {
  const [todos, setTodos] = useState<Todo[]>([]);
  useRoomEvent("board", "todo:created", (todo) => setTodos((all) => [...all, todo]));
  useSocketEvent("todo:deleted", ({ id }, meta) => setTodos((all) => all.filter((todo) => todo.id !== id && meta.room)));
  // @ts-expect-error there is no such event
  useSocketEvent("todo:updated", () => {});
  // @ts-expect-error the data is a Todo
  useRoomEvent("board", "todo:created", (count: number) => count);
  const { emitAck } = useSocketClient();
  const { user, signOut, hasRole } = useAuth();
  const { typing, notify } = useTyping("board");
  const { cursors, move } = useCursors<{ x: number }>("board");
  // @ts-expect-error a cursor is {x}
  move({ y: 1 });
  return (
    <ul onMouseMove={(event) => move({ x: event.clientX })} onClick={() => emitAck<Todo>("todo:create", { title: "x" })}>
      {user?.name} {useConnectionState().state} {hasRole(["editor"]) && "editor"}
      {usePresence("board").map((one) => one.name)} {typing.length} {cursors.map((cursor) => cursor.data.x)}
      <input onKeyDown={notify} />
      <button onClick={() => void signOut()}>Sign out</button>
      {todos.map((todo) => (
        <li key={todo.id}>{todo.title}</li>
      ))}
    </ul>
  );
}

export const App = () => (
  <RealtimeProvider client={client}>
    <AuthGuard fallback={<p>Sign in</p>} redirect={() => location.assign("/sign-in")}>
      <RoleGuard role={["editor", "admin"]} can="todos.write">
        <Todos />
      </RoleGuard>
    </AuthGuard>
  </RealtimeProvider>
);

// @ts-expect-error a client or a config, not both
export const Both = () => <RealtimeProvider client={client} config={{}} />;
// @ts-expect-error one of them
export const Neither = () => <RealtimeProvider />;
