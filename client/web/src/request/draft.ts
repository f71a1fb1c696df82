// The request that the form describes: what "Generate" would send now, and what is wrong with it.
import { create } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { computed, effect } from "@preact/signals";
import {
  FrameKind,
  type GenerateRequest,
  GenerateRequestSchema,
  OnDisconnect,
} from "../gen/denoised/v1/image_generation_pb.ts";
import type { Model } from "../gen/denoised/v1/models_pb.ts";
import { selectedModel } from "../models/catalog.ts";
import type { Violation } from "../rpc/problem.ts";
import { address, go } from "./address.ts";
import { fieldAt, fill, type Settings } from "./fields.ts";
import { Form } from "./form.ts";
import { findPicture, pictures } from "./pictures.ts";
import { planProblem } from "./plan.ts";

/** Fields that the page fills in by itself. */
export const ownFields = ["request_id", "on_disconnect", "frames.encoding", "image_encoding"];

// The frames that the server keeps for those who come back (docs/generations.md).
const keptFrames = 256;
const defaultSteps = 20;

/** The form of the Create view. */
export const form = new Form({
  settings: computed(() => address.value.settings),
  // The settings describe another image now. Back leads to the one that is shown.
  store: (settings) =>
    go({ settings, generation: "" }, { replace: address.peek().generation === "" }),
  check: () => [...(planProblem.value?.violations ?? []), ...draft.value.violations],
});

/** Sets one field. An empty text takes it out. */
export const setField = (path: string, text: string) => form.setField(path, text);
export const setFields = (change: Settings) => form.setFields(change);

/** The picture fields of the settings, by path. */
export function pictureIds(settings: Settings): string[] {
  return Object.entries(settings)
    .filter(([path]) => /\.(picture|mask)\.data$/.test(path))
    .map(([, id]) => id);
}

// A link may name pictures that were added in an earlier visit.
effect(() => pictureIds(address.value.settings).forEach((id) => void findPicture(id)));

export interface Draft {
  request: GenerateRequest;
  /** Texts that are no value of their field. */
  violations: Violation[];
}

/** Without `request_id`. */
export const draft = computed<Draft>(() => makeDraft(address.value.settings, selectedModel.value));

export function makeDraft(settings: Settings, model: Model | undefined): Draft {
  const request = create(GenerateRequestSchema, { onDisconnect: OnDisconnect.DETACH });
  const known = pictures.value;
  const violations = fill(
    reflect(GenerateRequestSchema, request),
    settings,
    (id) => (known.has(id) ? known.get(id)?.bytes : new Uint8Array()), // not looked up yet
  );
  if (model) {
    request.model = model.name;
    if (model.takesPrompts) request.prompt ??= "";
  }
  request.frames ??= create(fieldMessage("frames"), {
    everyNSteps: stepsBetweenFrames(request, model),
    kinds: [FrameKind.X_T, FrameKind.X0],
  }) as GenerateRequest["frames"];
  return { request, violations };
}

function fieldMessage(path: string) {
  const message = fieldAt(GenerateRequestSchema, path)?.message;
  if (message === undefined) throw new Error(`${path} is no message`);
  return message;
}

// As many as the server keeps, so that a page that comes back half-way gets every one.
function stepsBetweenFrames({ sampler, count }: GenerateRequest, model: Model | undefined): number {
  const steps =
    sampler?.timesteps.length ||
    sampler?.sigmas.length ||
    (sampler?.steps ?? model?.defaultSampler?.steps ?? defaultSteps);
  return Math.max(1, Math.ceil((2 * steps * (count ?? 1)) / keptFrames));
}
