// Light or dark: what the device prefers, until somebody chooses.
import { effect, signal } from "@preact/signals";

export type Theme = "light" | "dark";

const key = "denoised.theme";
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const devicePreference = (): Theme => (prefersDark.matches ? "dark" : "light");

function chosen(): Theme | undefined {
  try {
    const text = localStorage.getItem(key);
    return text === "light" || text === "dark" ? text : undefined;
  } catch {
    return undefined;
  }
}

export const theme = signal<Theme>(chosen() ?? devicePreference());

export function toggleTheme(): void {
  theme.value = theme.peek() === "dark" ? "light" : "dark";
  try {
    localStorage.setItem(key, theme.peek());
  } catch {
    // A browser that stores nothing: the choice lasts until the page is closed.
  }
}

/** Keeps the document in the theme. */
export function applyTheme(): void {
  prefersDark.addEventListener("change", () => {
    if (chosen() === undefined) theme.value = devicePreference();
  });
  effect(() => {
    document.documentElement.dataset["theme"] = theme.value;
  });
}
