// The form: the fields of the request that the chosen model can use.
import { GenerateRequestSchema } from "../gen/denoised/v1/image_generation_pb.ts";
import type { Model } from "../gen/denoised/v1/models_pb.ts";
import { Model_State } from "../gen/denoised/v1/models_pb.ts";
import { SamplerSchema } from "../gen/denoised/v1/sampler_pb.ts";
import { generate, generateWithAnotherSeed, randomSeed } from "../generation/current.ts";
import { models, shortName } from "../models/catalog.ts";
import { form, ownFields, setField } from "../request/draft.ts";
import { enumWordOf, enumWords, settablePaths } from "../request/fields.ts";
import { NumberField } from "../ui/controls.tsx";
import { Field } from "../ui/field.tsx";
import { FormFrame } from "../ui/form-frame.tsx";
import { MoreOptions } from "../ui/more-options.tsx";
import { AdapterFields } from "./adapter-fields.tsx";
import { ClassField } from "./class-field.tsx";
import { StartFields } from "./start-fields.tsx";

export function Settings({ model }: { model: Model | undefined }) {
  return (
    <FormFrame form={form} onSubmit={generate} actions={<Actions />}>
      <ModelField model={model} />
      {model && <WhatToMake model={model} />}
      {model && <HowToSample model={model} />}
      {model?.takesAdapters && <AdapterFields model={model} />}
      {model && <StartFields model={model} />}
      {model && <MoreOptions schema={GenerateRequestSchema} paths={others} isPlaced={isPlaced} />}
    </FormFrame>
  );
}

// Fields that have a place of their own in the form.
const placed = new Set([
  ...ownFields,
  ...["model", "class_label", "prompt", "negative_prompt", "width", "height", "seed", "count"],
  ...["sampler.sampler", "sampler.steps", "guidance.scale"],
  ...["start.image.strength", "inpainting.jump_length", "inpainting.resamples"],
]);

const others = settablePaths(GenerateRequestSchema).filter((path) => !placed.has(path));

const isPlaced = (path: string) =>
  placed.has(path) || path.startsWith("adapters[") || path.endsWith(".data");

function ModelField({ model }: { model: Model | undefined }) {
  const usable = models.value?.filter(({ state }) => state !== Model_State.FAILED) ?? [];
  return (
    <Field path="model" label="Model" hint={model && `${model.width} × ${model.height}`}>
      {(control) => (
        <select {...control} value={model?.name ?? control.value}>
          {model === undefined && (
            <option value={control.value}>{shortName(control.value)}: not on this server</option>
          )}
          {usable.map(({ name }) => (
            <option key={name} value={name}>
              {shortName(name)}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

function WhatToMake({ model }: { model: Model }) {
  return (
    <>
      {model.classes.length > 0 && <ClassField classes={model.classes} />}
      {model.takesPrompts && (
        <>
          <Field path="prompt" label="Prompt">
            {(control) => <textarea {...control} rows={3} placeholder="What to make, in words" />}
          </Field>
          <Field path="negative_prompt" label="Negative prompt">
            {(control) => <textarea {...control} rows={2} placeholder="What to lead away from" />}
          </Field>
        </>
      )}
      {model.sizeMultiple > 0 && (
        <div class="row">
          <NumberField path="width" label="Width" absent={model.width} step={model.sizeMultiple} />
          <NumberField
            path="height"
            label="Height"
            absent={model.height}
            step={model.sizeMultiple}
          />
        </div>
      )}
    </>
  );
}

function HowToSample({ model }: { model: Model }) {
  const usual = enumWordOf(SamplerSchema, model.defaultSampler?.sampler ?? 0);
  return (
    <>
      <div class="row">
        <Field path="sampler.sampler" label="Sampler" class="wide">
          {(control) => (
            <select {...control}>
              <option value="">{usual === "" ? "model’s own" : `${usual}, the model’s own`}</option>
              {enumWords(SamplerSchema).map((word) => (
                <option key={word} value={word}>
                  {word}
                </option>
              ))}
            </select>
          )}
        </Field>
        <NumberField
          path="sampler.steps"
          label="Steps"
          absent={model.defaultSampler?.steps ?? 20}
          step={1}
        />
      </div>
      <div class="row">
        {model.supportsGuidance && (
          <NumberField
            path="guidance.scale"
            label="Guidance"
            absent={model.defaultGuidanceScale || "none"}
            step={0.5}
          />
        )}
        <NumberField path="count" label="Images" absent={1} step={1} />
        <SeedField />
      </div>
    </>
  );
}

function SeedField() {
  return (
    <Field path="seed" label="Seed" class="wide">
      {(control) => (
        <div class="joined">
          <input
            {...control}
            type="text"
            inputMode="numeric"
            autoComplete="off"
            placeholder="random"
          />
          <button type="button" title="Another seed" onClick={() => setField("seed", randomSeed())}>
            <span class="hidden">Another seed</span>
            <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
              <rect x="2" y="2" width="12" height="12" rx="2.5" class="outline" />
              <path class="pips" d="M5.2 5.2h0M10.8 5.2h0M8 8h0M5.2 10.8h0M10.8 10.8h0" />
            </svg>
          </button>
        </div>
      )}
    </Field>
  );
}

function Actions() {
  return (
    <>
      <button type="submit" class="primary">
        Generate
      </button>
      <button type="button" onClick={generateWithAnotherSeed}>
        Another seed
      </button>
    </>
  );
}
