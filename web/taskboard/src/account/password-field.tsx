import { useId, useState, type InputHTMLAttributes, type ReactNode, type Ref } from "react";

/** A password, which can be looked at. */
export function PasswordField({
  label,
  hint,
  error,
  ref,
  ...rest
}: InputHTMLAttributes<HTMLInputElement> & {
  label: string;
  hint?: ReactNode;
  error?: string | undefined;
  ref?: Ref<HTMLInputElement>;
}) {
  const id = useId();
  const [shown, show] = useState(false);
  const about = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(" ");
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <div className="password">
        <input
          spellCheck={false}
          autoCapitalize="none"
          autoCorrect="off"
          {...rest}
          ref={ref}
          id={id}
          type={shown ? "text" : "password"}
          aria-invalid={error ? true : undefined}
          aria-describedby={about || undefined}
        />
        <button type="button" className="password-eye" aria-pressed={shown} aria-label={`Show the ${label.toLowerCase()}`} onClick={() => show(!shown)}>
          {shown ? "Hide" : "Show"}
        </button>
      </div>
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
