// What the page shows, as the part of its address behind "#": a view, the settings of a request, and
// the generation that is watched. A link to it shows the same.
import { signal } from "@preact/signals";
import type { Settings } from "./fields.ts";

export interface Address {
  view: string;
  settings: Settings;
  /** The last part of the name "generations/{generation}". Empty: none is watched. */
  generation: string;
}

export const defaultView = "create";

export function formatAddress({ view, settings, generation }: Address): string {
  const pairs = Object.entries(settings).filter(([, text]) => text !== "");
  if (generation !== "") pairs.push(["generation", generation]);
  const query = pairs.map(([path, text]) => `${encode(path)}=${encode(text)}`).join("&");
  return query === "" ? `#${view}` : `#${view}?${query}`;
}

// Leaves what is legible and allowed behind "#" as it is.
const encode = (text: string) =>
  encodeURIComponent(text).replace(/%20/g, "+").replace(/%2F/g, "/").replace(/%2C/g, ",");

export function parseAddress(hash: string): Address {
  const [view = "", query = ""] = hash.replace(/^#/, "").split(/\?(.*)/s);
  const { generation = "", ...settings } = Object.fromEntries(new URLSearchParams(query));
  return { view: view === "" ? defaultView : view, settings, generation };
}

export const address = signal(parseAddress(location.hash));

/** Shows another address. A new entry in the browser's history unless `replace`. */
export function go(change: Partial<Address>, { replace = false } = {}): void {
  address.value = { ...address.peek(), ...change };
  const hash = formatAddress(address.peek());
  if (hash === location.hash) return;
  if (replace) history.replaceState(null, "", hash);
  else history.pushState(null, "", hash);
}

// Back, forward, and links that somebody pastes.
window.addEventListener("popstate", () => (address.value = parseAddress(location.hash)));
