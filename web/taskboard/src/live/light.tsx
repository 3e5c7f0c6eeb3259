import { useConnectionState, useRealtimeClient } from "@holdfast/client/react";
import { Button } from "../ui/index.js";
import { useRecord } from "./context.js";
import { useNow, useWaiting } from "./hooks.js";
import { Popover } from "./popover.js";
import { clock, count, duration, light, why } from "./words.js";

/** Whether the page is connected, and if not, why, and what happens next. */
export function ConnectionLight() {
  const connection = useConnectionState();
  const { failures, online } = useRecord();
  const [word, tone] = light(connection, { online, failures });
  return (
    <>
      <Popover
        label="Connection"
        name={`Connection: ${word}. Why?`}
        className={`light ${tone}`}
        button={
          <>
            <span className="dot" />
            <span className="light-word">{word}</span>
          </>
        }
      >
        {() => <Reasons />}
      </Popover>
      <span className="sr" role="status">
        {word}
      </span>
    </>
  );
}

function Reasons() {
  const { socket, auth } = useRealtimeClient();
  const connection = useConnectionState();
  const { failures, online, renewals, since } = useRecord();
  const waiting = useWaiting();
  const now = useNow(true);
  const [word, tone] = light(connection, { online, failures });
  const { session } = socket;
  const { retryAt: next, transport } = connection;
  // A client that waits for its next attempt makes it when the browser says that the network is back.
  const tryNow = () => {
    if (connection.connecting) dispatchEvent(new Event("online"));
    else void socket.connect().catch(() => {});
  };
  return (
    <div className="reasons">
      <p className={`reasons-word ${tone}`}>
        <span className="dot" />
        <strong>{word}</strong>
      </p>
      <p>{why(connection, online)}</p>
      <dl>
        {since !== undefined && <Fact name="Connected for">{duration(Math.max(0, now - since))}</Fact>}
        {failures > 0 && <Fact name="Attempts so far">{failures}</Fact>}
        {!connection.connected && next && <Fact name="Next attempt">{next > now ? `in ${duration(next - now)}` : "now"}</Fact>}
        {connection.connected && <Fact name="Carried by">{transport === "polling" ? "HTTP polling" : "WebSocket"}</Fact>}
        <Fact name="Waiting to be sent">{waiting ? count(waiting, "edit") : "nothing"}</Fact>
        {session && <Fact name="Token ends">{`${clock(session.expiresAt)}, renewed before`}</Fact>}
        {session && <Fact name="Renewed so far">{renewals ? `${count(renewals, "time")} on this connection` : "not yet"}</Fact>}
      </dl>
      <div className="reasons-actions">
        {connection.connected ? (
          <Button onClick={() => void auth?.refresh().catch(() => {})}>Renew the token now</Button>
        ) : (
          <Button onClick={tryNow}>Try now</Button>
        )}
      </div>
    </div>
  );
}

function Fact({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}
