import { useEffect, useId, useRef, useState, type KeyboardEvent, type ReactNode } from "react";

/**
 * A button that opens a menu (the menu button of the ARIA practices): arrow
 * keys, Home, End and letters move in it, Escape and a click elsewhere close
 * it, and the focus goes back to the button. `label` names both, `button` is seen. `head` stands
 * above the entries, and is none of them.
 */
export function MenuButton({
  label,
  button,
  head,
  children,
  className = "",
}: {
  label: string;
  button: ReactNode;
  head?: ReactNode;
  children: ReactNode;
  className?: string;
}) {
  const id = useId();
  const [open, setOpen] = useState<false | "first" | "last">(false);
  const whole = useRef<HTMLDivElement>(null);
  const trigger = useRef<HTMLButtonElement>(null);
  const menu = useRef<HTMLDivElement>(null);
  const items = () => [...(menu.current?.querySelectorAll<HTMLElement>('[role^="menuitem"]:not([aria-disabled="true"])') ?? [])];

  useEffect(() => {
    if (!open) return;
    items().at(open === "first" ? 0 : -1)?.focus();
    const outside = (event: Event) => {
      if (!whole.current?.contains(event.target as Node)) setOpen(false);
    };
    addEventListener("pointerdown", outside, true);
    return () => removeEventListener("pointerdown", outside, true);
  }, [open]);

  const close = () => {
    setOpen(false);
    trigger.current?.focus();
  };
  const move = (event: KeyboardEvent) => {
    const all = items();
    const at = all.indexOf(document.activeElement as HTMLElement);
    const to = target(event, all, at);
    if (event.key === "Escape") close();
    else if (event.key === "Tab") setOpen(false); // and the focus goes its way
    else if (to) to.focus();
    if (event.key === "Escape" || to) {
      event.preventDefault();
      event.stopPropagation(); // the page's own keys mean something else
    }
  };

  return (
    <div
      ref={whole}
      className={`menu-whole ${className}`}
      onBlur={({ relatedTarget }) => relatedTarget && !whole.current?.contains(relatedTarget as Node) && setOpen(false)}
    >
      <button
        ref={trigger}
        type="button"
        className="menu-trigger"
        id={`${id}-button`}
        aria-haspopup="menu"
        aria-expanded={!!open}
        aria-controls={open ? `${id}-menu` : undefined}
        onClick={() => setOpen(open ? false : "first")}
        onKeyDown={(event) => {
          if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
          event.preventDefault();
          setOpen(event.key === "ArrowDown" ? "first" : "last");
        }}
      >
        <span className="sr">{label}</span>
        <span aria-hidden="true" className="menu-sign">
          {button}
        </span>
      </button>
      {open && (
        <div className="menu">
          {head && <div className="menu-head">{head}</div>}
          <div
            ref={menu}
            role="menu"
            id={`${id}-menu`}
            aria-labelledby={`${id}-button`}
            onKeyDown={move}
            onClick={({ target }) => {
              const item = (target as HTMLElement).closest('[role^="menuitem"]');
              // A choice can be seen, and changed again: the menu stays.
              if (item?.getAttribute("role") === "menuitem") close();
            }}
          >
            {children}
          </div>
        </div>
      )}
    </div>
  );
}

/** Where a key leads in a menu. */
function target({ key, ctrlKey, metaKey, altKey }: KeyboardEvent, all: HTMLElement[], at: number): HTMLElement | undefined {
  switch (key) {
    case "ArrowDown":
      return all[(at + 1) % all.length];
    case "ArrowUp":
      return all.at(at > 0 ? at - 1 : -1);
    case "Home":
      return all[0];
    case "End":
      return all.at(-1);
  }
  if (key.length !== 1 || key === " " || ctrlKey || metaKey || altKey) return undefined;
  const begins = (item: HTMLElement) => item.textContent?.trim().toLowerCase().startsWith(key.toLowerCase());
  return [...all.slice(at + 1), ...all.slice(0, at + 1)].find(begins);
}

/** An entry of a menu: a link with `href`, else a button. */
export function MenuItem({ href, onSelect, children }: { href?: string; onSelect?: () => void; children: ReactNode }) {
  return href === undefined ? (
    <button type="button" role="menuitem" tabIndex={-1} className="menu-item" onClick={onSelect}>
      {children}
    </button>
  ) : (
    <a role="menuitem" tabIndex={-1} className="menu-item" href={href} onKeyDown={(event) => event.key === " " && (event.preventDefault(), event.currentTarget.click())}>
      {children}
    </a>
  );
}

/** One of a few, of which one is chosen. */
export function MenuChoice({ chosen, onSelect, children }: { chosen: boolean; onSelect: () => void; children: ReactNode }) {
  return (
    <button type="button" role="menuitemradio" aria-checked={chosen} tabIndex={-1} className="menu-item" onClick={onSelect}>
      {children}
    </button>
  );
}

/** Entries that belong together. */
export function MenuGroup({ label, children, row = false }: { label: string; children: ReactNode; row?: boolean }) {
  return (
    <div role="group" aria-label={label} className={row ? "menu-group beside" : "menu-group"}>
      {children}
    </div>
  );
}
