// Numbers as people read them.
import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";
import { timestampDate } from "@bufbuild/protobuf/wkt";

/** "5.9M". */
export function compact(value: bigint): string {
  const format = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
  return format.format(value);
}

/** "20,000". */
export const whole = (value: bigint | number): string => value.toLocaleString("en");

/** "1 picture", "20,000 pictures". */
export const many = (value: bigint | number, thing: string, things = `${thing}s`): string =>
  `${whole(value)} ${Number(value) === 1 ? thing : things}`;

/** "23.4 MB". */
export function bytes(value: bigint | number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let amount = Number(value);
  let unit = 0;
  for (; amount >= 1000 && unit < units.length - 1; unit++) amount /= 1000;
  return `${amount.toFixed(unit === 0 ? 0 : 1)} ${units[unit] ?? ""}`;
}

/** Four significant digits, without trailing zeros: "0.0432", "1e-4". */
export function significant(value: number): string {
  if (value !== 0 && Math.abs(value) < 1e-3) return value.toExponential(2).replace(/\.?0+e/, "e");
  return String(Number(value.toPrecision(4)));
}

/** "45 s", "12 min", "3 h 20 min", "2 d 4 h". */
export function duration({ seconds }: Duration): string {
  const total = Number(seconds);
  if (total < 60) return `${total} s`;
  const minutes = Math.round(total / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48
    ? `${hours} h ${minutes % 60} min`
    : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

const today = new Intl.DateTimeFormat("en", { timeStyle: "medium", hour12: false });
const earlier = new Intl.DateTimeFormat("en", {
  dateStyle: "medium",
  timeStyle: "short",
  hour12: false,
});

/** "14:03:20" of today, and with the date before it of another day. */
export function time(timestamp: Timestamp | undefined): string {
  if (timestamp === undefined) return "";
  const date = timestampDate(timestamp);
  const isToday = date.toDateString() === new Date().toDateString();
  return (isToday ? today : earlier).format(date);
}
