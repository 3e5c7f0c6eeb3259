import { useEffect, useState } from "react";
import { Button, Icon } from "../ui/index.js";
import type { ToastText } from "./context.js";
import type { Notice } from "./model.js";

/** Messages at the foot: what was refused, until it is read; what can be taken back, for a while. */
export function Toasts({ toast, notices, onEnd, onRead }: {
  toast: ToastText | undefined;
  notices: readonly Notice[];
  onEnd: () => void;
  onRead: (id: string) => void;
}) {
  const [held, hold] = useState(false);
  useEffect(() => {
    if (!toast || held) return;
    const timer = setTimeout(onEnd, 8000);
    return () => clearTimeout(timer);
  }, [toast, held, onEnd]);
  return (
    <div className="toasts" role="status" onMouseEnter={() => hold(true)} onMouseLeave={() => hold(false)} onFocus={() => hold(true)} onBlur={() => hold(false)}>
      {notices.slice(0, 3).map(({ id, text, lost }) => (
        <div key={id} className="toast">
          <Icon name="warn" />
          <span>
            {text}
            {lost && <q className="toast-lost" dir="auto">{lost}</q>}
          </span>
          <Button kind="quiet" aria-label="Close" onClick={() => onRead(id)}>
            <Icon name="close" />
          </Button>
        </div>
      ))}
      {toast && (
        <div className="toast">
          <span>{toast.text}</span>
          {toast.undo && (
            <Button
              kind="quiet"
              onClick={() => {
                toast.undo!();
                onEnd();
              }}
            >
              Undo
            </Button>
          )}
        </div>
      )}
    </div>
  );
}
