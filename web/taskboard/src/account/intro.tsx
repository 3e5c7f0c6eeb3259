/** What the board is, and what it shows, beside the form. */
export function Intro() {
  return (
    <aside className="intro" aria-label="What this is">
      <p className="intro-brand">Task board</p>
      <p className="intro-title">A board that several people change at once.</p>
      <ul className="intro-lines">
        <li>See who is here, what they type, and each change as it happens.</li>
        <li>Go offline and keep working: your edits wait, and each is applied once.</li>
        <li>Your sign-in renews itself, and ends on every device the moment you say so.</li>
      </ul>
      <p className="intro-line">Change a board together, live, and offline too.</p>
    </aside>
  );
}
