// An application in StrictMode: who is signed in, whether it is connected, and
// the last card of a room.
import { StrictMode, createElement as h, useState } from "react";
import { createRoot } from "react-dom/client";
import { RealtimeProvider, useAuth, useConnectionState, useRoomEvent } from "@holdfast/client/react";

declare global {
  function show(): void;
}

function Board() {
  const { user } = useAuth();
  const { state } = useConnectionState();
  const [card, setCard] = useState("none");
  useRoomEvent("board", "card", (data: { title: string }) => {
    got.push(data.title);
    setCard(data.title);
  });
  return h("p", { id: "board" }, `${user?.id ?? "nobody"} ${state} ${card}`);
}

globalThis.show = () =>
  createRoot(document.body.appendChild(document.createElement("main"))).render(
    h(StrictMode, null, h(RealtimeProvider, { config: {} }, h(Board))),
  );
