import { useEffect, useRef, useState } from "react";
import { flushSync } from "react-dom";
import { Button, Icon } from "../ui/index.js";
import { clip, titleBytes } from "./clip.js";
import { useBoardUi } from "./context.js";

/** A line for a new card or list. Enter adds it, and the line stays for the next one; Escape closes it. */
export function AddLine({ label, onAdd, onClose }: { label: string; onAdd: (title: string) => void; onClose: () => void }) {
  const { sync } = useBoardUi();
  const [title, setTitle] = useState("");
  const form = useRef<HTMLFormElement>(null);
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    input.current!.focus();
    form.current!.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, []);
  // The button that opened it is back in its place then.
  const close = () => {
    const place = form.current!.parentElement!;
    flushSync(onClose);
    place.querySelector<HTMLElement>(".add")?.focus();
  };
  return (
    <form
      ref={form}
      className="add-line"
      onSubmit={(event) => {
        event.preventDefault();
        if (!title.trim()) return;
        onAdd(title.trim());
        setTitle("");
        input.current!.focus();
      }}
      onBlur={({ relatedTarget }) => !title.trim() && !form.current?.contains(relatedTarget as Node) && onClose()}
      onKeyDown={(event) => {
        event.stopPropagation();
        if (event.key === "Escape") close();
      }}
    >
      <input
        ref={input}
        aria-label={label}
        dir="auto"
        placeholder="Title, then Enter"
        value={title}
        enterKeyHint="done"
        onChange={(event) => {
          setTitle(clip(event.target.value, titleBytes));
          sync.typing();
        }}
      />
      <div className="add-foot">
        <Button kind="primary" type="submit">
          Add
        </Button>
        <Button kind="quiet" aria-label="Close" onClick={close}>
          <Icon name="close" />
        </Button>
      </div>
    </form>
  );
}
