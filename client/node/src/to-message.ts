// From the plain objects that plain.ts describes to generated messages.
import {
  create,
  type DescEnum,
  type DescField,
  type DescMessage,
  isMessage,
  type Message,
  type MessageShape,
  ScalarType,
} from "@bufbuild/protobuf";
import {
  DurationSchema,
  durationFromMs,
  TimestampSchema,
  timestampFromDate,
} from "@bufbuild/protobuf/wkt";

import { enumNames, enumNumber } from "./enum-names.js";
import { DenoisedError, type FieldViolation } from "./errors.js";
import type { Init } from "./plain.js";
import { InputImageSchema, SamplerOptionsSchema } from "./proto.js";
import { namesWithOrder, samplerWithOrder } from "./sampler-names.js";
import { plainName } from "./to-plain.js";

type Fields = Record<string, unknown>;

const longScalars = new Set<ScalarType | undefined>([
  ScalarType.INT64,
  ScalarType.UINT64,
  ScalarType.SINT64,
  ScalarType.FIXED64,
  ScalarType.SFIXED64,
]);

/**
 * The message that `init` describes.
 *
 * @throws DenoisedError INVALID_ARGUMENT with every name of a field or an enumerator that does not
 * exist. Values are for the server to judge.
 */
export function toMessage<Schema extends DescMessage>(
  schema: Schema,
  init: Init<MessageShape<Schema>>,
): MessageShape<Schema> {
  const builder = new MessageBuilder();
  const message = builder.message(schema, init, "");
  if (builder.violations.length > 0) throw DenoisedError.invalidFields(builder.violations);
  return message as MessageShape<Schema>;
}

class MessageBuilder {
  readonly violations: FieldViolation[] = [];

  // `path` names the message within the whole, and ends in a dot; empty for the whole.
  message(schema: DescMessage, init: Fields, path: string): Message {
    if (isMessage(init, schema)) return init;
    const plain = schema.typeName === SamplerOptionsSchema.typeName ? withSolverOrder(init) : init;
    const fields: Fields = {};
    for (const [name, value] of Object.entries(plain)) {
      if (value !== undefined && value !== null) this.set(fields, schema, name, value, path);
    }
    return create(schema, fields);
  }

  private set(fields: Fields, schema: DescMessage, name: string, value: unknown, path: string) {
    const field = schema.fields.find((candidate) => plainName(candidate) === name);
    if (!field) {
      this.refuse(path + name, `is not a field of ${schema.name}`);
      return;
    }
    const converted = this.value(field, value, path + field.name);
    if (!field.oneof) {
      fields[field.localName] = converted;
      return;
    }
    const other = fields[field.oneof.localName] as { case: string } | undefined;
    if (other) this.refuse(path + field.name, `must be absent, as ${other.case} is given`);
    fields[field.oneof.localName] = { case: field.localName, value: converted };
  }

  private value(field: DescField, value: unknown, path: string): unknown {
    if (field.fieldKind === "list") {
      if (!Array.isArray(value)) return this.refuse(path, "must be an array");
      return value.map((element, i) => this.element(field, element, `${path}[${i}]`));
    }
    if (field.fieldKind === "map") {
      if (!isObject(value)) return this.refuse(path, "must be an object");
      const entries = Object.entries(value);
      return Object.fromEntries(
        entries.map(([key, entry]) => [key, this.element(field, entry, `${path}[${key}]`)]),
      );
    }
    return this.element(field, value, path);
  }

  private element(field: DescField, value: unknown, path: string): unknown {
    if (field.enum) return this.enumerator(field.enum, value, path);
    if (field.message) return this.nested(field.message, value, path);
    const isWhole = typeof value === "number" && Number.isInteger(value);
    return isWhole && longScalars.has(field.scalar) ? BigInt(value) : value;
  }

  private enumerator(type: DescEnum, value: unknown, path: string): number {
    const number =
      typeof value === "string" ? enumNumber(type, value) : type.value[Number(value)]?.number;
    if (number !== undefined) return number;
    const names = enumNames(type).concat(type.name === "Sampler" ? namesWithOrder : []);
    this.refuse(path, `must be one of ${names.join(", ")}; is ${JSON.stringify(value)}`);
    return 0;
  }

  private nested(schema: DescMessage, value: unknown, path: string): unknown {
    if (isMessage(value, schema)) return value;
    switch (schema.typeName) {
      case TimestampSchema.typeName:
        return value instanceof Date
          ? timestampFromDate(value)
          : this.refuse(path, "must be a Date");
      case DurationSchema.typeName:
        if (typeof value === "number" && Number.isFinite(value)) return durationFromMs(value);
        return this.refuse(path, "must be a number of milliseconds");
      case InputImageSchema.typeName:
        if (value instanceof Uint8Array) return { data: value };
        return this.refuse(path, "must be the bytes of a picture");
      default:
        if (isObject(value)) return this.message(schema, value, `${path}.`);
        return this.refuse(path, `must be an object, with fields of ${schema.name}`);
    }
  }

  // Stands for the value that is refused.
  private refuse(field: string, description: string): unknown {
    this.violations.push({ field, description });
    return undefined;
  }
}

function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

// A name such as "dpmpp_2m" sets the order, too, unless the order is given.
function withSolverOrder(init: Fields): Fields {
  const named = typeof init.sampler === "string" ? samplerWithOrder(init.sampler) : undefined;
  return named ? { solverOrder: named.solverOrder, ...init, sampler: named.sampler } : init;
}
