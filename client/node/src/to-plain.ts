// From generated messages to the plain objects that plain.ts describes.
import {
  type DescField,
  type DescMessage,
  type Message,
  type MessageShape,
  ScalarType,
} from "@bufbuild/protobuf";
import {
  type Duration,
  DurationSchema,
  durationMs,
  type Timestamp,
  TimestampSchema,
  timestampDate,
} from "@bufbuild/protobuf/wkt";

import { enumName } from "./enum-names.js";
import type { Event, Plain } from "./plain.js";
import { type InputImage, InputImageSchema } from "./proto.js";

type Fields = Record<string, unknown>;
type Choice = { case: string; value: unknown } | { case: undefined };

/** The message as a plain object. */
export function toPlain<Schema extends DescMessage>(
  schema: Schema,
  message: MessageShape<Schema>,
): Plain<MessageShape<Schema>> {
  return plainFields(schema.fields, message) as Plain<MessageShape<Schema>>;
}

/** An event as a plain object; undefined for a type of event that a newer server has added. */
export function toEvent<Schema extends DescMessage>(
  schema: Schema,
  message: MessageShape<Schema> & { event: Choice },
): Event<MessageShape<Schema> & { event: Choice }> | undefined {
  const chosen = schema.fields.find(
    (field) => field.oneof?.name === "event" && field.localName === message.event.case,
  );
  if (!chosen) return undefined;
  const common = schema.fields.filter((field) => !field.oneof);
  const value = fieldValue(chosen, message);
  const event: Fields = { ...plainFields(common, message), type: chosen.localName };
  const details = chosen.message ? plainFields(chosen.message.fields, value as Message) : undefined;
  return Object.assign(event, details ?? { [chosen.localName]: value }) as Event<
    MessageShape<Schema> & { event: Choice }
  >;
}

/** The name of a field in plain objects. Durations say their unit. */
export function plainName(field: DescField): string {
  const isDuration = field.message?.typeName === DurationSchema.typeName;
  return isDuration ? `${field.localName}Ms` : field.localName;
}

function plainFields(fields: readonly DescField[], message: Message): Fields {
  const plain: Fields = {};
  for (const field of fields) {
    const value = fieldValue(field, message);
    if (value !== undefined) plain[plainName(field)] = plainValue(field, value);
  }
  return plain;
}

// Undefined where the field is absent, or another one of its oneof is set.
function fieldValue(field: DescField, message: Message): unknown {
  const values = message as unknown as Fields;
  if (!field.oneof) return values[field.localName];
  const choice = values[field.oneof.localName] as Choice;
  return choice.case === field.localName ? choice.value : undefined;
}

function plainValue(field: DescField, value: unknown): unknown {
  if (field.fieldKind === "list") {
    return (value as unknown[]).map((element) => plainElement(field, element));
  }
  if (field.fieldKind === "map") {
    const entries = Object.entries(value as Fields);
    return Object.fromEntries(entries.map(([key, entry]) => [key, plainElement(field, entry)]));
  }
  return plainElement(field, value);
}

function plainElement(field: DescField, value: unknown): unknown {
  if (field.enum) return enumName(field.enum, value as number);
  if (field.message) return plainMessage(field.message, value as Message);
  if (typeof value === "bigint" && field.scalar !== ScalarType.UINT64) return Number(value);
  return value;
}

function plainMessage(schema: DescMessage, message: Message): unknown {
  switch (schema.typeName) {
    case TimestampSchema.typeName:
      return timestampDate(message as Timestamp);
    case DurationSchema.typeName:
      return durationMs(message as Duration);
    case InputImageSchema.typeName:
      return (message as InputImage).data;
    default:
      return plainFields(schema.fields, message);
  }
}
