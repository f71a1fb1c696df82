// The settings of the generations that this browser has started, by the name of the generation. The
// server does not repeat a prompt or a picture, so nobody else knows how to make the same again.
import { formatAddress, parseAddress } from "./address.ts";
import type { Settings } from "./fields.ts";

const key = "denoised.started";
const kept = 300;

export function rememberStarted(generation: string, settings: Settings): void {
  const entries = Object.entries(read()).filter(([name]) => name !== generation);
  entries.push([generation, formatAddress({ view: "create", item: "", settings, generation })]);
  try {
    localStorage.setItem(key, JSON.stringify(Object.fromEntries(entries.slice(-kept))));
  } catch {
    // A browser that stores nothing: the address still holds the settings of the latest generation.
  }
}

export function settingsOfStarted(generation: string): Settings | undefined {
  const hash = read()[generation];
  return hash === undefined ? undefined : parseAddress(hash).settings;
}

function read(): Record<string, string> {
  try {
    return JSON.parse(localStorage.getItem(key) ?? "{}") as Record<string, string>;
  } catch {
    return {};
  }
}
