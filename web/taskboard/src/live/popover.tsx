import { useId, useRef, useState, type ReactNode, type ToggleEvent } from "react";

/**
 * A button that shows a panel, by the browser's own popover: Escape and a click
 * elsewhere close it, and focus comes back. What is in it is made just before it
 * is seen, and goes after it: the focus in it comes back as it closes.
 */
export function Popover({
  label,
  name,
  className = "",
  button,
  children,
}: {
  /** What the panel is called. */
  label: string;
  /** What the button is called: what it shows is for the eyes. */
  name: string;
  className?: string;
  button: ReactNode;
  children: () => ReactNode;
}) {
  const id = useId();
  const opener = useRef<HTMLButtonElement>(null);
  const panel = useRef<HTMLDivElement>(null);
  const [open, setOpen] = useState(false);

  // The panel is in the browser's top layer, where no parent's box is known: it is put below its button.
  const opens = (event: ToggleEvent<HTMLDivElement>) => {
    if (event.newState !== "open") return;
    setOpen(true);
    const { bottom, right } = opener.current!.getBoundingClientRect();
    const { style } = panel.current!;
    style.top = `${bottom + 6}px`;
    const { clientWidth: width } = document.documentElement;
    style.right = `${width < 480 ? 8 : Math.max(8, width - right)}px`; // a phone has no room to its left
  };

  return (
    <>
      <button ref={opener} type="button" className={`popover-button ${className}`} popoverTarget={id} aria-expanded={open}>
        <span className="sr">{name}</span>
        <span className="popover-shows" aria-hidden="true">
          {button}
        </span>
      </button>
      <div
        ref={panel}
        id={id}
        popover="auto"
        role="dialog"
        aria-label={label}
        className="popover"
        onBeforeToggle={opens}
        onToggle={(event) => event.newState === "closed" && setOpen(false)}
      >
        {open && children()}
      </div>
    </>
  );
}
