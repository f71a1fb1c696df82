// What a caller says about a generation, as GenerateRequest has it but flat, as the `denoise`
// command takes it.
import type { Init } from "./plain.js";
import * as proto from "./proto.js";
import { adapterName, modelName } from "./names.js";
import { toMessage } from "./to-message.js";

type SamplerFields = Init<proto.SamplerOptions>;

type GuidanceFields = {
  [Key in keyof Init<proto.Guidance> as `guidance${Capitalize<Key>}`]: Init<proto.Guidance>[Key];
};

type RequestFields = Omit<
  Init<proto.GenerateRequest>,
  | "model"
  | "sampler"
  | "guidance"
  | "frames"
  | "adapters"
  | "classLabel"
  | "classWeights"
  // The client follows generations to other servers by itself.
  | "handover"
  | "acceptHandover"
>;

/** The sampler by name, such as "ddim" or "dpmpp_2m", and its options. Absent: the model's. */
export type SamplerChoice = SamplerFields;

export interface GenerateOptions extends RequestFields, SamplerFields, GuidanceFields {
  /** "emoji-32", or "models/emoji-32". */
  model: string;
  /** Which class to make: its label, or its name in upper or lower case. */
  classLabel?: number | string | undefined;
  /** A blend of classes, each by label or name: `{ animals: 0.7, food: 0.3 }`. */
  classWeights?: Record<string, number> | undefined;
  /** Adapters (LoRA) by name, each with its scale: `{ "pixel-art": 0.8 }`. */
  adapters?: Record<string, number> | undefined;
  /** A frame after every n-th step and after the last, or more about frames. 0: no frames. */
  frames?: number | Init<proto.FramePolicy> | undefined;
}

/** Finds the label of a model's class by its name. */
export type FindLabel = (model: string, className: string) => Promise<number>;

/**
 * The request that the options describe.
 *
 * @throws DenoisedError INVALID_ARGUMENT for a name that does not exist.
 */
export async function toGenerateRequest(
  options: GenerateOptions,
  findLabel: FindLabel,
): Promise<proto.GenerateRequest> {
  const { model, classLabel, classWeights, adapters, frames, ...rest } = options;
  const { request, sampler, guidance } = sorted(rest);
  const labelOf = (label: number | string) => toLabel(label, (name) => findLabel(model, name));
  return toMessage(proto.GenerateRequestSchema, {
    ...request,
    model: model && modelName(model),
    sampler: hasAny(sampler) ? sampler : undefined,
    guidance: hasAny(guidance) ? guidance : undefined,
    frames: typeof frames === "number" ? everyStep(frames) : frames,
    adapters: Object.entries(adapters ?? {}).map(([name, scale]) => ({
      name: adapterName(name),
      scale,
    })),
    classLabel: classLabel === undefined ? undefined : await labelOf(classLabel),
    classWeights: await Promise.all(
      Object.entries(classWeights ?? {}).map(async ([name, weight]) => ({
        classLabel: await labelOf(name),
        weight,
      })),
    ),
  });
}

const samplerFields = new Set(proto.SamplerOptionsSchema.fields.map((field) => field.localName));

// "scale" by "guidanceScale", and so on.
const guidanceFields = new Map(
  proto.GuidanceSchema.fields.map(({ localName: name }) => [
    `guidance${name.charAt(0).toUpperCase()}${name.slice(1)}`,
    name,
  ]),
);

// The options by the message that they are fields of.
function sorted(options: RequestFields & SamplerFields & GuidanceFields) {
  const request: Record<string, unknown> = {};
  const sampler: Record<string, unknown> = {};
  const guidance: Record<string, unknown> = {};
  for (const [key, value] of Object.entries<unknown>(options)) {
    const guidanceField = guidanceFields.get(key);
    if (value === undefined) continue;
    if (guidanceField !== undefined) guidance[guidanceField] = value;
    else if (samplerFields.has(key)) sampler[key] = value;
    else request[key] = value;
  }
  return { request, sampler, guidance };
}

function hasAny(fields: object): boolean {
  return Object.keys(fields).length > 0;
}

function everyStep(everyNSteps: number): Init<proto.FramePolicy> | undefined {
  return everyNSteps === 0 ? undefined : { everyNSteps };
}

// A whole number is always a label, even if a class has it as its name.
async function toLabel(
  label: number | string,
  findLabel: (className: string) => Promise<number>,
): Promise<number> {
  if (typeof label === "number") return label;
  return /^-?\d+$/.test(label) ? Number(label) : findLabel(label);
}
