// The messages of the contract as plain objects. Fields have the names of the .proto files in camel
// case. What differs from the generated messages:
//
//   enumerators           strings: "karras", "min_snr", "running"; absent where unspecified
//   int64                 a number (counts, bytes, sequence numbers)
//   uint64                a bigint (seeds)
//   Timestamp, Duration   a Date; a number of milliseconds, under a name that ends in Ms
//   InputImage            its bytes
//   oneof                 one optional field for each choice
//   oneof `event`         a union over `type`, which holds the fields of the chosen message
import type { Message } from "@bufbuild/protobuf";
import type { Duration, Empty, Timestamp } from "@bufbuild/protobuf/wkt";

import type { EnumName } from "./enum-names.js";
import type { InputImage, Sampler } from "./proto.js";
import type { SamplerName } from "./sampler-names.js";

interface Oneof {
  case: string | undefined;
  value?: unknown;
}

type IsOneof<Value> = [Value] extends [Oneof] ? true : false;
// Enumerations take any `number`, but no literal that is not one of theirs.
type IsNumber<Value> = [0.5] extends [Value] ? true : false;

type FieldName<Key, Value> = Value extends Duration ? `${Key & string}Ms` : Key;

// The names of a message's fields that are not in a oneof.
type Names<Type> = {
  [Key in keyof Type]: Key extends "$typeName" | "$unknown"
    ? never
    : IsOneof<Type[Key]> extends true
      ? never
      : Key;
}[keyof Type];

// The choices of all oneofs of a message, as `{case, value}`.
type Choices<Type> = {
  [Key in keyof Type]: IsOneof<Type[Key]> extends true ? Type[Key] : never;
}[keyof Type];

type Intersection<Union> = (Union extends unknown ? (member: Union) => void : never) extends (
  member: infer All,
) => void
  ? All
  : never;

// Shows an intersection as one object.
type Flat<Type> = { [Key in keyof Type]: Type[Key] };

/** A message that the server sent. */
export type Plain<Type> = Flat<
  {
    [
      Key in keyof Type as Key extends Names<Type> ? FieldName<Key, NonNullable<Type[Key]>> : never
    ]: PlainValue<Key, Type[Key]>;
  } & Intersection<PlainChoice<Choices<Type>>>
>;

type PlainChoice<Choice> = Choice extends { case: infer Case extends string; value: infer Value }
  ? { [Key in Case as FieldName<Key, Value>]?: PlainValue<Key, Value> }
  : never;

type PlainValue<Key, Value> = Value extends undefined | boolean | string | Uint8Array
  ? Value
  : Value extends bigint
    ? Key extends "seed"
      ? bigint
      : number
    : Value extends number
      ? IsNumber<Value> extends true
        ? number
        : EnumName<Value> | undefined
      : Value extends Timestamp
        ? Date
        : Value extends Duration
          ? number
          : Value extends InputImage
            ? Uint8Array
            : Value extends readonly (infer Element)[]
              ? NonNullable<PlainValue<Key, Element>>[]
              : Value extends Message
                ? Plain<Value>
                : { [Entry in keyof Value]: PlainValue<Entry, Value[Entry]> };

/** An event of a stream: the message's other fields, `type`, and the fields of what happened. */
export type Event<Type extends { event: Oneof }> = EventOf<
  Plain<Omit<Type, "event">>,
  Type["event"]
>;

type EventOf<Common, Choice> = Choice extends {
  case: infer Case extends string;
  value: infer Value;
}
  ? Flat<WithRequired<Common & { type: Case } & EventDetails<Case, Value>>>
  : never;

// The server sets these in every event that has them.
type Always = "time" | "image" | "queueWaitMs" | "elapsedMs";
type WithRequired<Type> = Omit<Type, Always> & Required<Pick<Type, Extract<keyof Type, Always>>>;

type EventDetails<Case extends string, Value> = Value extends Empty
  ? unknown
  : Value extends Message
    ? Plain<Value>
    : Record<Case, Value>;

/** A message that a caller writes. Every field is optional; a generated message is taken as well. */
export type Init<Type> = Flat<
  {
    [
      Key in keyof Type as Key extends Names<Type> ? FieldName<Key, NonNullable<Type[Key]>> : never
    ]?: InitValue<NonNullable<Type[Key]>> | undefined;
  } & Intersection<InitChoice<Choices<Type>>>
>;

type InitChoice<Choice> = Choice extends { case: infer Case extends string; value: infer Value }
  ? { [Key in Case as FieldName<Key, Value>]?: InitValue<Value> | undefined }
  : never;

type InitValue<Value> = Value extends boolean | string | Uint8Array
  ? Value
  : Value extends bigint
    ? number | bigint
    : Value extends number
      ? IsNumber<Value> extends true
        ? number
        : Value extends Sampler
          ? SamplerName
          : EnumName<Value>
      : Value extends Timestamp
        ? Date
        : Value extends Duration
          ? number
          : Value extends InputImage
            ? Uint8Array
            : Value extends readonly (infer Element)[]
              ? readonly InitValue<Element>[]
              : Value extends Message
                ? Init<Value> | Value
                : { [Entry in keyof Value]: InitValue<Value[Entry]> };
