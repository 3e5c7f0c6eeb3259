import { useAuth, useTyping } from "@holdfast/client/react";
import { names } from "./words.js";

/** Who is typing in a board's room. Its place is there also when nobody is. */
export function TypingLine({ room }: { room: string }) {
  const { typing } = useTyping(room);
  const { user } = useAuth();
  const others = typing.filter(({ id }) => id !== user?.id).map(({ name }) => name || "Somebody");
  return (
    <p className="typing-line">
      {others.length > 0 && (
        <>
          <span className="typing-dots" aria-hidden="true">
            <i />
            <i />
            <i />
          </span>
          {`${names(others)} ${others.length === 1 ? "is" : "are"} typing`}
        </>
      )}
    </p>
  );
}
