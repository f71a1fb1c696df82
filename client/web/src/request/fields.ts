// The fields of a request by their path, as text. A path is what the server calls a field when it
// is wrong ("sampler.steps", "adapters[0].scale"), so that the address bar, the form and the errors
// share one set of names.
import { FeatureSet_FieldPresence } from "@bufbuild/protobuf/wkt";
import { type DescEnum, type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { reflect, type ReflectList, type ReflectMessage } from "@bufbuild/protobuf/reflect";
import type { Violation } from "../rpc/problem.ts";

/** Text by path. What is not in it takes the server's default. */
export type Settings = Readonly<Record<string, string>>;

/** The bytes that a text stands for: pictures do not fit into an address. */
export type BytesOf = (text: string) => Uint8Array | undefined;

/** The words of an enum, without the value that means "unspecified": "ddpm", "dpmpp_2m". */
export function enumWords(desc: DescEnum): string[] {
  return desc.values
    .filter((value) => value.number !== 0)
    .map((value) => enumWord(value.localName));
}

/** "ddpm" of the number 1. Empty for 0 and for numbers that this page does not know. */
export function enumWordOf(desc: DescEnum, number: number): string {
  const value = number === 0 ? undefined : desc.value[number];
  return value ? enumWord(value.localName) : "";
}

const enumWord = (localName: string) => localName.toLowerCase();

/** The field at a path such as "sampler.steps", or undefined. */
export function fieldAt(desc: DescMessage, path: string): DescField | undefined {
  const [head = "", ...rest] = path.split(".");
  const field = desc.fields.find((candidate) => candidate.name === head.replace(/\[\d+\]$/, ""));
  if (rest.length === 0 || field === undefined) return field;
  return field.message && fieldAt(field.message, rest.join("."));
}

/** The paths of all fields that a text can set, those of messages within included. */
export function settablePaths(desc: DescMessage, prefix = ""): string[] {
  return desc.fields.flatMap((field) => {
    const path = prefix + field.name;
    if (field.fieldKind === "message") return settablePaths(field.message, `${path}.`);
    const isMessages = field.fieldKind === "list" && field.listKind === "message";
    const isBytes = field.fieldKind === "scalar" && field.scalar === ScalarType.BYTES;
    return isMessages || isBytes || field.fieldKind === "map" ? [] : [path];
  });
}

/** Fills `message` from `settings`. Returns the texts that are no value of their field. */
export function fill(message: ReflectMessage, settings: Settings, bytesOf: BytesOf): Violation[] {
  const violations: Violation[] = [];
  for (const path of Object.keys(settings).sort(byIndex)) {
    const description = setPath(message, path.split("."), settings[path] ?? "", bytesOf);
    if (description !== undefined) violations.push({ field: path, description });
  }
  return violations;
}

const byIndex = (a: string, b: string) => a.localeCompare(b, "en", { numeric: true });

function setPath(
  message: ReflectMessage,
  [head = "", ...rest]: string[],
  text: string,
  bytesOf: BytesOf,
): string | undefined {
  const [, name = "", index] = /^(\w+)(?:\[(\d+)\])?$/.exec(head) ?? [];
  const field = message.fields.find((candidate) => candidate.name === name);
  if (field === undefined) return `is not a field of ${message.desc.name}`;
  if (rest.length === 0) return setValue(message, field, text, bytesOf);
  if (field.fieldKind === "message") {
    const child = message.get(field);
    const problem = setPath(child, rest, text, bytesOf);
    message.set(field, child);
    return problem;
  }
  if (field.fieldKind === "map") {
    message.get(field).set(rest.join("."), text);
    return undefined;
  }
  if (field.fieldKind !== "list" || field.listKind !== "message") return "has no fields of its own";
  const list = message.get(field) as ReflectList<ReflectMessage>;
  const at = Number(index ?? list.size);
  if (at > list.size) return `comes before ${name}[${list.size}]: number them 0, 1, 2, ...`;
  if (at === list.size) list.add(reflect(field.message));
  const element = list.get(at);
  return element && setPath(element, rest, text, bytesOf);
}

function setValue(message: ReflectMessage, field: DescField, text: string, bytesOf: BytesOf) {
  try {
    if (field.fieldKind === "list" && field.listKind !== "message") {
      const list = message.get(field);
      for (const item of text.split(",")) list.add(valueOf(field, item.trim(), bytesOf));
    } else {
      message.set(field, valueOf(field, text, bytesOf));
    }
    return undefined;
  } catch (error) {
    if (error instanceof NotAValue) return error.message;
    throw error;
  }
}

class NotAValue extends Error {}

function valueOf(field: DescField, text: string, bytesOf: BytesOf): unknown {
  if (field.enum) return enumValue(field.enum, text);
  switch (field.scalar) {
    case ScalarType.STRING:
      return text;
    case ScalarType.BOOL:
      if (text === "true" || text === "false") return text === "true";
      throw new NotAValue(`must be true or false, is “${text}”`);
    case ScalarType.BYTES: {
      const bytes = bytesOf(text);
      if (bytes) return bytes;
      throw new NotAValue("this device does not have the picture of this link: choose it again");
    }
    case ScalarType.INT64:
    case ScalarType.UINT64:
      return wholeNumber(text, 64);
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return number(text);
    default:
      return Number(wholeNumber(text, 32));
  }
}

function enumValue(desc: DescEnum, text: string): number {
  const value = desc.values.find(({ localName }) => enumWord(localName) === text);
  if (value) return value.number;
  throw new NotAValue(`must be one of ${enumWords(desc).join(", ")}; is “${text}”`);
}

function wholeNumber(text: string, bits: 32 | 64): bigint {
  if (!/^-?\d{1,20}$/.test(text)) throw new NotAValue(`must be a whole number, is “${text}”`);
  const value = BigInt(text);
  if (bits === 64 && BigInt.asUintN(64, value) !== value)
    throw new NotAValue(`must be between 0 and ${2n ** 64n - 1n}, is ${text}`);
  if (bits === 32 && BigInt.asIntN(32, value) !== value)
    throw new NotAValue(`must be between ${-(2n ** 31n)} and ${2n ** 31n - 1n}, is ${text}`);
  return value;
}

function number(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value))
    throw new NotAValue(`must be a number, is “${text}”`);
  return value;
}

/** The reverse of `fill`: every field but bytes that has a value, zero included, as text. */
export function settingsOf(message: ReflectMessage, prefix = ""): Settings {
  const settings: Record<string, string> = {};
  for (const field of message.fields) {
    if (message.isSet(field) || isImplicit(field))
      Object.assign(settings, settingsOfField(message, field, prefix + field.name));
  }
  return settings;
}

/** A field of which nobody can tell whether it is absent or zero. */
export const isImplicit = (field: DescField) =>
  field.fieldKind === "scalar" && field.presence === FeatureSet_FieldPresence.IMPLICIT;

function settingsOfField(message: ReflectMessage, field: DescField, path: string): Settings {
  switch (field.fieldKind) {
    case "message":
      return settingsOf(message.get(field), `${path}.`);
    case "list": {
      const items = [...message.get(field)];
      if (field.listKind !== "message")
        return { [path]: items.map((item) => textOf(field, item)).join(",") };
      return Object.assign(
        {},
        ...items.map((item, i) => settingsOf(item as ReflectMessage, `${path}[${i}].`)),
      ) as Settings;
    }
    case "scalar":
      if (field.scalar === ScalarType.BYTES) return {};
      return { [path]: textOf(field, message.get(field)) };
    case "enum":
      return { [path]: textOf(field, message.get(field)) };
    case "map":
      return Object.fromEntries(
        [...message.get(field)].map(([key, value]) => [`${path}.${String(key)}`, String(value)]),
      );
    default:
      return {};
  }
}

const textOf = (field: DescField, value: unknown) =>
  field.enum ? enumWordOf(field.enum, value as number) : String(value);
