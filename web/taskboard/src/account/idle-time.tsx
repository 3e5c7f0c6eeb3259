import { useId, useState } from "react";
import { idleMinutes, setIdleMinutes } from "../settings.js";
import { Button } from "../ui/index.js";

const choices = [1, 5, 15, 60, 0];

const name = (minutes: number) => (minutes === 0 ? "Never" : minutes === 1 ? "After 1 minute" : minutes === 60 ? "After 1 hour" : `After ${minutes} minutes`);

/** After how long without activity this browser locks the page. */
export function IdleTime() {
  const id = useId();
  const [began] = useState(idleMinutes);
  const [minutes, setMinutes] = useState(idleMinutes);
  const all = choices.includes(minutes) ? choices : [minutes, ...choices];
  return (
    <>
      <p>When nobody has touched the page for a while, it is covered until you unlock it by password or passkey. This holds for this browser.</p>
      <div className="line-up">
        <div className="field">
          <label htmlFor={id}>Lock the page</label>
          <select
            id={id}
            value={minutes}
            onChange={({ target }) => {
              setIdleMinutes(Number(target.value));
              setMinutes(idleMinutes());
            }}
          >
            {all.map((choice) => (
              <option key={choice} value={choice}>
                {name(choice)}
              </option>
            ))}
          </select>
        </div>
      </div>
      <div role="status">
        {minutes !== began && (
          <p className="line-up soft-text">
            It holds when the page is loaded anew. <Button onClick={() => location.reload()}>Load it anew</Button>
          </p>
        )}
      </div>
    </>
  );
}
