// The generation that the Create view shows, in step with the address.
import { reflect } from "@bufbuild/protobuf/reflect";
import { computed, effect, signal, untracked } from "@preact/signals";
import { refreshRecent } from "../gallery/recent.ts";
import type { Generation } from "../gen/denoised/v1/generations_pb.ts";
import {
  type Accepted,
  AcceptedSchema,
  type GenerateRequest,
  GenerateRequestSchema,
} from "../gen/denoised/v1/image_generation_pb.ts";
import { models, selectedModel, shortName } from "../models/catalog.ts";
import { type Address, address, go } from "../request/address.ts";
import { draft, form, makeDraft, pictureIds, setFields } from "../request/draft.ts";
import { fieldAt, isImplicit, type Settings, settingsOf } from "../request/fields.ts";
import { findPicture, randomText } from "../request/pictures.ts";
import { rememberStarted, settingsOfStarted } from "../request/started.ts";
import type { Moment } from "./album.ts";
import { Run } from "./run.ts";

export const run = signal<Run | undefined>(undefined);

/** Which image of the generation is shown large. */
export const imageIndex = signal(0);
/** The step that is shown. Undefined: the latest. */
export const shownStep = signal<number | undefined>(undefined);

/** What was seen of the shown image, step by step. */
export const moments = computed(() => {
  const album = run.value?.album;
  return album === undefined || album.revision.value < 0
    ? []
    : [...album.moments(imageIndex.value)];
});

/** The moment that is shown. Undefined: no frame has come yet. */
export const shownMoment = computed(() => latestMoment("xt") ?? latestMoment("x0"));

/** The latest picture of a kind, up to the shown step. */
export const shownNoisy = computed(() => latestMoment("xt")?.xt);
export const shownPredicted = computed(() => latestMoment("x0")?.x0);

function latestMoment(kind: "xt" | "x0"): Moment | undefined {
  const last = shownStep.value ?? Infinity;
  return moments.value.findLast((moment) => moment.step <= last && moment[kind] !== undefined);
}

/** The finished image, unless an earlier step is shown. */
export const shownResult = computed(() => {
  const album = run.value?.album;
  if (album === undefined || album.revision.value < 0 || shownStep.value !== undefined)
    return undefined;
  return album.result(imageIndex.value);
});

/** A seed that is short enough to be read out. */
export function randomSeed(): string {
  return String(crypto.getRandomValues(new Uint32Array(1))[0]);
}

/** Starts the generation that the form describes. The address then names it and its seed. */
export function generate(): void {
  if (address.peek().settings["seed"] === undefined) setFields({ seed: randomSeed() });
  const { request, violations } = draft.peek();
  form.refuse(violations);
  if (violations.length > 0 || request.model === "") return;
  request.requestId = `page-${randomText(12)}`;
  request.acceptHandover = true; // so that it can be paused, and outlives the server
  const settings = { ...address.peek().settings, model: request.model };
  rememberStarted(request.requestId, settings);
  const started = Run.start(request);
  started.problem.subscribe((problem) => {
    form.refuse(problem?.violations ?? []);
    const isNamed = address.peek().generation === request.requestId;
    // A link must not name what never began.
    if (problem && isNamed && !started.accepted.peek()) go({ generation: "" }, { replace: true });
  });
  show(started);
  go({ view: "create", settings, generation: request.requestId });
}

export function generateWithAnotherSeed(): void {
  setFields({ seed: randomSeed() });
  generate();
}

/** Shows a generation of the list, and its settings as far as they are known. */
export function watch(generation: Generation): void {
  go(addressOf(generation));
}

/** The address that shows a generation, and its settings as far as they are known. */
export function addressOf({ name, accepted }: Pick<Generation, "name" | "accepted">): Address {
  const generation = shortName(name);
  const settings = settingsOfStarted(generation) ?? (accepted ? settingsOfAccepted(accepted) : {});
  return { view: "create", item: "", settings, generation };
}

function settingsOfAccepted(accepted: Accepted): Settings {
  const settings: Record<string, string> = {};
  for (const [path, text] of Object.entries(settingsOf(reflect(AcceptedSchema, accepted)))) {
    const field = fieldAt(GenerateRequestSchema, path);
    const isAbsent = text === "" || (text === "0" && field && isImplicit(field));
    if (field && !isAbsent && !path.startsWith("frames.")) settings[path] = text;
  }
  const [only, ...others] = accepted.classWeights;
  if (only && others.length === 0) {
    delete settings["class_weights[0].class_label"];
    delete settings["class_weights[0].weight"];
    settings["class_label"] = String(only.classLabel);
  }
  const model = models.peek()?.find(({ name }) => name === accepted.model);
  if (model?.sizeMultiple === 0) {
    delete settings["height"];
    delete settings["width"];
  }
  return settings;
}

/** Joins the generation that the address names, whenever it names another. */
export function followAddress(): void {
  effect(() => {
    const { generation } = address.value;
    const name = `generations/${generation}`;
    if (generation === "") return;
    untracked(() => {
      if (run.peek()?.name === name) return;
      form.refuse([]);
      show(Run.join(name, () => requestAgain(generation)));
    });
  });
}

// What started a generation, if it was this browser.
async function requestAgain(generation: string): Promise<GenerateRequest | undefined> {
  const settings = settingsOfStarted(generation);
  if (settings === undefined) return undefined;
  await Promise.all(pictureIds(settings).map(findPicture));
  const model =
    models.peek()?.find(({ name }) => name === settings["model"]) ?? selectedModel.peek();
  const { request, violations } = makeDraft(settings, model);
  return violations.length > 0
    ? undefined
    : Object.assign(request, { requestId: generation, acceptHandover: true });
}

function show(next: Run): void {
  run.peek()?.leave();
  run.value = next;
  imageIndex.value = 0;
  shownStep.value = undefined;
  next.state.subscribe(refreshRecent);
}
