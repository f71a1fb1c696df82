// Enumerators by name: "karras" for SIGMA_SPACING_KARRAS, and "running" for RUNNING.
import type { DescEnum } from "@bufbuild/protobuf";

import type * as proto from "./proto.js";

type ZeroOf<Enum> = Extract<keyof Enum, "UNSPECIFIED" | `${string}_UNSPECIFIED`>;
// "TIMESTEP_SAMPLING", where the generator has left the prefix on because not all values have it.
type PrefixOf<Enum> = ZeroOf<Enum> extends `${infer Prefix}_UNSPECIFIED` ? Prefix : never;
type WithoutPrefix<Key, Prefix extends string> = Key extends `${Prefix}_${infer Rest}` ? Rest : Key;
type NamesOf<Enum> = Lowercase<
  Exclude<WithoutPrefix<keyof Enum & string, PrefixOf<Enum>>, "UNSPECIFIED">
>;

type EnumKey = {
  [Key in keyof typeof proto]: [ZeroOf<(typeof proto)[Key]>] extends [never] ? never : Key;
}[keyof typeof proto];

type ValuesOf<Enum> = Enum[keyof Enum];

/** The names of an enumeration, given the type of its values. */
export type EnumName<Value> = {
  [Key in EnumKey]: Value extends ValuesOf<(typeof proto)[Key]>
    ? NamesOf<(typeof proto)[Key]>
    : never;
}[EnumKey];

// "TIMESTEP_SAMPLING_" for the enumeration TimestepSampling.
function prefixOf(type: DescEnum): string {
  return type.name.replace(/(?<!^)([A-Z])/g, "_$1").toUpperCase() + "_";
}

function nameOf(type: DescEnum, value: { name: string }): string {
  const prefix = prefixOf(type);
  const name = value.name.startsWith(prefix) ? value.name.slice(prefix.length) : value.name;
  return name.toLowerCase();
}

/** Undefined for the unspecified value, and for one that a newer server has added. */
export function enumName(type: DescEnum, number: number): string | undefined {
  const value = number === 0 ? undefined : type.value[number];
  return value && nameOf(type, value);
}

/** Undefined if no enumerator has this name. */
export function enumNumber(type: DescEnum, name: string): number | undefined {
  return type.values.find((value) => value.number !== 0 && nameOf(type, value) === name)?.number;
}

/** Every name of an enumeration, in the order of its numbers. */
export function enumNames(type: DescEnum): string[] {
  return type.values.filter((value) => value.number !== 0).map((value) => nameOf(type, value));
}
