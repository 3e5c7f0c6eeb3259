import { useHttpClient } from "@holdfast/client/react";
import { useId, useState, type FormEvent } from "react";
import type { Change, Member } from "../types.js";
import { Button, Field } from "../ui/index.js";
import { CallProblem, useCall } from "./use-call.js";

/** Makes somebody with an account a member. */
export function Invite({ board, onChange }: { board: string; onChange: (member: Member) => void }) {
  const http = useHttpClient();
  const id = useId();
  const [wrong, setWrong] = useState("");
  const [said, say] = useState("");
  const invite = useCall(async (form: HTMLFormElement, email: string, role: string) => {
    const { member } = await http.post<Change>(`/api/boards/${encodeURIComponent(board)}/members`, { email, role });
    if (member) onChange({ ...member, email });
    say(`${member?.name || email} is on the board.`);
    form.reset();
    (form.elements.namedItem("email") as HTMLElement).focus(); // for the next one
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const data = new FormData(form);
    const email = String(data.get("email")).trim();
    say("");
    setWrong(!email ? "An e-mail address is needed." : /^\S+@\S+$/.test(email) ? "" : "This is not an e-mail address.");
    if (/^\S+@\S+$/.test(email)) void invite.run(form, email, String(data.get("role")));
    else (form.elements.namedItem("email") as HTMLElement).focus();
  };
  return (
    <section className="share-part" aria-labelledby="share-invite">
      <h3 id="share-invite">Add somebody</h3>
      <form className="share-invite" noValidate onSubmit={submit}>
        <Field label="E-mail of their account" name="email" type="email" autoComplete="off" autoCapitalize="none" spellCheck={false} error={wrong || undefined} />
        <div className="field">
          <label htmlFor={id}>Role</label>
          <select id={id} name="role" defaultValue="editor">
            <option value="editor">Editor</option>
            <option value="viewer">Viewer</option>
          </select>
        </div>
        <Button type="submit" kind="primary" busy={invite.busy}>
          Add
        </Button>
      </form>
      <CallProblem call={invite} />
      <p role="status" className="soft-text">
        {said}
      </p>
    </section>
  );
}
