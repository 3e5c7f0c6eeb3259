import "./styles/tokens.css";
import "./styles/base.css";
import "./ui/ui.css";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app.js";
import { makeClient } from "./client.js";
import { showTheme, theme } from "./settings.js";

showTheme(theme());
createRoot(document.getElementById("app")!).render(
  <StrictMode>
    <App client={makeClient()} />
  </StrictMode>,
);
