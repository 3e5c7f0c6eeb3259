import { useAuth } from "@holdfast/client/react";
import { useEffect, useState } from "react";
import { href } from "../router.js";
import { onOtherTab, setTheme, showTheme, theme, type Theme } from "../settings.js";
import { Avatar } from "../ui/index.js";
import { MenuButton, MenuChoice, MenuGroup, MenuItem } from "../ui/menu.js";

const themes: [Theme, string][] = [
  ["auto", "System"],
  ["light", "Light"],
  ["dark", "Dark"],
];

/** Who is signed in, themes, the account's pages, sign-out. */
export function UserMenu() {
  const { user, signOut } = useAuth();
  const [shown, show] = useState(theme);
  useEffect(
    () =>
      onOtherTab("theme", () => {
        showTheme(theme());
        show(theme());
      }),
    [],
  );
  if (!user) return null;
  const name = user.name || user.email || user.id;
  return (
    <MenuButton
      className="user-menu"
      label={`Account of ${name}`}
      button={<Avatar id={user.id} name={name} />}
      head={
        <>
          <p className="user-name">{name}</p>
          <p className="user-email">{user.email}</p>
        </>
      }
    >
      <MenuGroup label="Theme" row>
        {themes.map(([value, text]) => (
          <MenuChoice key={value} chosen={shown === value} onSelect={() => (setTheme(value), show(value))}>
            {text}
          </MenuChoice>
        ))}
      </MenuGroup>
      <MenuItem href={href({ at: "devices" })}>Devices</MenuItem>
      <MenuItem href={href({ at: "security" })}>Security</MenuItem>
      <MenuItem href={href({ at: "terminal" })}>Use it from a terminal</MenuItem>
      {/* What goes wrong is told where one signs in: this is gone by then. */}
      <MenuItem onSelect={() => void signOut().catch(() => {})}>Sign out</MenuItem>
    </MenuButton>
  );
}
