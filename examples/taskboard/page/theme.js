// Runs before the first paint, so that a page with a chosen theme never shows
// the other one. src/settings.ts has the rest.
try {
  const theme = localStorage.getItem("taskboard:theme");
  if (theme === "light" || theme === "dark") document.documentElement.style.colorScheme = theme;
} catch {
  // Storage is blocked: the system's theme is shown.
}
