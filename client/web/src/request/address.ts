// What the page shows, as the part of its address behind "#": a view, one of its items, the
// settings of a request, and the generation that is watched. A link to it shows the same.
import { effect, signal } from "@preact/signals";
import type { Settings } from "./fields.ts";

export interface Address {
  view: string;
  /** What the view shows in particular, such as a training job. Empty: its overview. */
  item: string;
  settings: Settings;
  /** The last part of the name "generations/{generation}". Empty: none is watched. */
  generation: string;
}

export const defaultView = "create";

export function formatAddress({ view, item, settings, generation }: Address): string {
  const pairs = Object.entries(settings).filter(([, text]) => text !== "");
  if (generation !== "") pairs.push(["generation", generation]);
  const query = pairs.map(([path, text]) => `${encode(path)}=${encode(text)}`).join("&");
  const place = item === "" ? `#${view}` : `#${view}/${encode(item)}`;
  return query === "" ? place : `${place}?${query}`;
}

// Leaves what is legible and allowed behind "#" as it is.
const encode = (text: string) =>
  encodeURIComponent(text).replace(/%20/g, "+").replace(/%2F/g, "/").replace(/%2C/g, ",");

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // somebody has typed a lone "%"
  }
}

export function parseAddress(hash: string): Address {
  const [place = "", query = ""] = hash.replace(/^#/, "").split(/\?(.*)/s);
  const [view = "", item = ""] = place.split(/\/(.*)/s);
  const { generation = "", ...settings } = Object.fromEntries(new URLSearchParams(query));
  return { view: view === "" ? defaultView : view, item: decode(item), settings, generation };
}

export const address = signal(parseAddress(location.hash));

// What each place, a view or an item of it, showed last: it shows the same when somebody comes
// back.
const shown = new Map<string, Address>();
const placeOf = ({ view, item }: Address) => `${view}/${item}`;
effect(() => void shown.set(placeOf(address.value), address.value));

/** Shows another address. A new entry in the browser's history unless `replace`. */
export function go(change: Partial<Address>, { replace = false } = {}): void {
  const { view, item } = address.peek();
  const sameView = change.view === undefined || change.view === view;
  const place = { view, item: sameView ? item : "", settings: {}, generation: "", ...change };
  address.value = { ...(shown.get(placeOf(place)) ?? place), ...change };
  const hash = formatAddress(address.peek());
  if (hash === location.hash) return;
  if (replace) history.replaceState(null, "", hash);
  else history.pushState(null, "", hash);
}

// Back, forward, and links that somebody pastes.
window.addEventListener("popstate", () => (address.value = parseAddress(location.hash)));
