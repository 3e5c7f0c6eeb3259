// Small parts that all of the page is made of.
import { useId, useLayoutEffect, useRef, type ButtonHTMLAttributes, type InputHTMLAttributes, type ReactNode } from "react";

/** A button. `kind` is how much it weighs; `busy` shows that it works: it keeps its width, and the focus, and does nothing. */
export function Button({
  kind = "plain",
  busy = false,
  className = "",
  children,
  onClick,
  ...rest
}: ButtonHTMLAttributes<HTMLButtonElement> & { kind?: "plain" | "primary" | "quiet" | "danger"; busy?: boolean }) {
  return (
    <button
      type="button"
      {...rest}
      className={`button ${kind} ${className}`}
      aria-busy={busy}
      aria-disabled={busy || undefined}
      onClick={busy ? stop : onClick}
    >
      {children}
    </button>
  );
}

const stop = (event: { preventDefault: () => void }) => event.preventDefault();

/** A labelled input, with a hint and an error that screen readers hear. */
export function Field({
  label,
  hint,
  error,
  ...rest
}: InputHTMLAttributes<HTMLInputElement> & { label: string; hint?: ReactNode; error?: string | undefined }) {
  const id = useId();
  const about = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(" ");
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <input dir="auto" {...rest} id={id} aria-invalid={error ? true : undefined} aria-describedby={about || undefined} />
      {hint && (
        <p className="hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
      {error && (
        <p className="field-error" id={`${id}-error`}>
          {error}
        </p>
      )}
    </div>
  );
}

/** What went wrong, said at once to screen readers. Reserve its place where a jump would hurt. */
export function Problem({ children }: { children?: ReactNode }) {
  return (
    <div role="alert" className={children ? "problem" : undefined}>
      {children}
    </div>
  );
}

/** A modal dialog, by the browser's own element: focus stays in it, Escape closes it. It begins at what has `data-first`, else at its first button. */
export function Dialog({ title, onClose, children }: { title: string; onClose: () => void; children: ReactNode }) {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  const pressed = useRef(false); // beside it; a text may be marked from within to there
  // While it is in the page: the browser gives the focus back as it closes.
  useLayoutEffect(() => {
    const dialog = ref.current!;
    if (!dialog.open) dialog.showModal();
    dialog.querySelector<HTMLElement>("[data-first]")?.focus();
    return () => dialog.close();
  }, []);
  return (
    <dialog
      ref={ref}
      className="dialog"
      aria-labelledby={id}
      onCancel={(event) => (event.preventDefault(), onClose())}
      onPointerDown={(event) => (pressed.current = event.target === ref.current)}
      onClick={(event) => pressed.current && event.target === ref.current && onClose()}
    >
      <div className="dialog-body">
        <div className="dialog-head">
          <h2 id={id} dir="auto">{title}</h2>
          <Button kind="quiet" aria-label="Close" onClick={onClose}>
            <Icon name="close" />
          </Button>
        </div>
        {children}
      </div>
    </dialog>
  );
}

const icons = {
  close: "M4 4l8 8M12 4l-8 8",
  plus: "M8 3v10M3 8h10",
  check: "M3 8.5l3.5 3.5L13 5",
  dots: "M3.5 8h.01M8 8h.01M12.5 8h.01",
  back: "M10 3L5 8l5 5",
  down: "M3.5 6L8 10.5 12.5 6",
  trash: "M3 4.5h10M6 4V2.5h4V4M4.5 4.5l.6 9h5.8l.6-9",
  people: "M6 7.5a2.25 2.25 0 1 0 0-4.5 2.25 2.25 0 0 0 0 4.5zM2 13c0-2.2 1.8-4 4-4s4 1.8 4 4M11 7.5a2 2 0 1 0-1-3.7M11.5 9.2c1.5.4 2.5 1.9 2.5 3.8",
  text: "M3 4.5h10M3 8h10M3 11.5h6",
  edit: "M10.5 3.5l2 2L6 12l-2.7.7L4 10z",
  move: "M2.5 8h11M10 4.5L13.5 8 10 11.5",
  help: "M6 6.2a2 2 0 1 1 2.8 1.9c-.6.3-.8.7-.8 1.3M8 11.8h.01",
  grip: "M6 4h.01M6 8h.01M6 12h.01M10 4h.01M10 8h.01M10 12h.01",
  warn: "M8 3L2.5 13h11zM8 7v2.5M8 11.3h.01",
  clock: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM8 5v3.2L10 10",
} as const;

/** A drawn sign. It says nothing to screen readers: whoever shows it alone gives the button a name. */
export function Icon({ name }: { name: keyof typeof icons }) {
  return (
    <svg className="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
      <path d={icons[name]} />
    </svg>
  );
}

/** A user's initials, as a picture, on a colour that stays the same for an id. */
export function Avatar({ id, name, size = 28 }: { id: string; name?: string | undefined; size?: number }) {
  const label = name || id;
  const initials = label
    .split(/\s+/)
    .slice(0, 2)
    .map((word) => [...word][0]?.toUpperCase())
    .join("");
  return (
    <span className="avatar" style={{ "--hue": hue(id), width: size, height: size, fontSize: size * 0.4 } as React.CSSProperties} title={label}>
      <span aria-hidden="true" data-initials={initials} />
      <span className="sr">{label}</span>
    </span>
  );
}

/** A hue of the colour circle for an id. */
export function hue(id: string): number {
  let sum = 0;
  for (const char of id) sum = (sum * 31 + char.codePointAt(0)!) % 360;
  return sum;
}
