import { useEffect, useLayoutEffect, useRef, type ReactNode } from "react";
import { Icon } from "../ui/index.js";

type IconName = Parameters<typeof Icon>[0]["name"];

export interface Choice {
  label: ReactNode;
  icon: IconName;
  danger?: boolean;
  /** Where the focus goes is up to it. */
  act: () => void;
}

/**
 * A menu in the browser's top layer, beside the button that opened it: lists
 * clip what is in them. Escape and a click elsewhere close it.
 */
export function PopMenu({ anchor, label, choices, onClose }: { anchor: HTMLElement; label: string; choices: Choice[]; onClose: () => void }) {
  const ref = useRef<HTMLDivElement>(null);
  const items = () => [...ref.current!.querySelectorAll<HTMLElement>("[role=menuitem]")];
  useLayoutEffect(() => {
    const menu = ref.current!;
    menu.showPopover();
    const at = anchor.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = menu;
    menu.style.left = `${Math.max(8, Math.min(at.right - width, innerWidth - width - 8))}px`;
    menu.style.top = `${at.bottom + height + 8 > innerHeight ? Math.max(8, at.top - height - 4) : at.bottom + 4}px`;
    items()[0]!.focus();
    anchor.setAttribute("aria-expanded", "true");
    return () => anchor.removeAttribute("aria-expanded");
  }, [anchor]);
  // A list that scrolls takes the button away from it.
  useEffect(() => {
    addEventListener("resize", onClose);
    return () => removeEventListener("resize", onClose);
  }, [onClose]);
  const close = (back: boolean) => {
    onClose();
    if (back && anchor.isConnected) anchor.focus();
  };
  return (
    <div
      ref={ref}
      popover="auto"
      role="menu"
      aria-label={label}
      className="pop"
      onToggle={({ newState }) => newState === "closed" && onClose()}
      onKeyDown={(event) => {
        const all = items();
        const at = all.indexOf(document.activeElement as HTMLElement);
        const to = { ArrowDown: all[(at + 1) % all.length], ArrowUp: all.at(at - 1), Home: all[0], End: all.at(-1) }[event.key];
        event.stopPropagation();
        if (to) event.preventDefault();
        to?.focus();
        if (event.key === "Escape") event.preventDefault();
        if (event.key === "Escape" || event.key === "Tab") close(event.key === "Escape");
      }}
    >
      {choices.map(({ label, icon, danger, act }, i) => (
        <button
          key={i}
          type="button"
          role="menuitem"
          tabIndex={-1}
          className={danger ? "pop-item danger" : "pop-item"}
          onClick={() => {
            close(true);
            act();
          }}
        >
          <Icon name={icon} /> {label}
        </button>
      ))}
    </div>
  );
}
