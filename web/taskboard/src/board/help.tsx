import { Dialog } from "../ui/index.js";

const keys: [string[], string][] = [
  [["N"], "New card in the list where you are"],
  [["↑", "↓", "←", "→"], "From card to card"],
  [["Enter"], "Open the card"],
  [["Space"], "Pick the card up; arrows move it, Space puts it down, Escape takes it back"],
  [["D"], "Done, or not"],
  [["M"], "Move to…"],
  [["Delete"], "Delete the card"],
  [["?"], "This help"],
];

/** What the keys do. */
export function Help({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="Keyboard" onClose={onClose}>
      <dl className="keys">
        {keys.map(([names, what]) => (
          <div key={what}>
            <dt>
              {names.map((name) => (
                <kbd key={name}>{name}</kbd>
              ))}
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <p className="hint">Lists are moved in the same way: go to a list’s handle, and press Space.</p>
    </Dialog>
  );
}
