// The token that the page shows to a server that asks for one. It lasts until the tab is closed.
import { signal } from "@preact/signals";

const key = "denoised.token";

function stored(): string {
  try {
    return sessionStorage.getItem(key) ?? "";
  } catch {
    return "";
  }
}

/** Empty: none. */
export const token = signal(stored());
/** Whether the server has refused the latest call for want of a valid token. */
export const isRefused = signal(false);

/** The value of the header Authorization; empty without a token. */
export const authorization = () => (token.peek() === "" ? "" : `Bearer ${token.peek()}`);

/** Shows `text` from now on; an empty one signs out. */
export function setToken(text: string): void {
  token.value = text.trim();
  isRefused.value = false;
  try {
    sessionStorage.setItem(key, token.peek());
  } catch {
    // A browser that stores nothing: the token lasts until the page is left.
  }
}
