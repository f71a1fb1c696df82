// The models and adapters that the server has, and which of them the settings choose.
import { computed, signal } from "@preact/signals";
import { type Adapter, type Model, Model_State } from "../gen/denoised/v1/models_pb.ts";
import { address } from "../request/address.ts";
import { lookUp, models as service } from "../rpc/clients.ts";
import { everyPage } from "../rpc/pages.ts";
import { type Problem, problemOf } from "../rpc/problem.ts";

/** By name. Undefined until the server has answered. */
export const models = signal<readonly Model[] | undefined>(undefined);
export const adapters = signal<readonly Adapter[]>([]);
export const catalogProblem = signal<Problem | undefined>(undefined);

/** The model that the settings name or, if they name none, the first that can be used. */
export const selectedModel = computed(() => {
  const known = models.value ?? [];
  const name = address.value.settings["model"];
  return name === undefined
    ? known.find((model) => model.state !== Model_State.FAILED)
    : known.find((model) => model.name === name);
});

/** "emoji-32" of "models/emoji-32". */
export const shortName = (name: string) => name.slice(name.lastIndexOf("/") + 1);

/** The adapters that can be used with `model`. */
export function adaptersOf(model: Model): Adapter[] {
  return adapters.value.filter((adapter) => adapter.models.includes(model.name));
}

export async function loadCatalog(): Promise<void> {
  try {
    const all = await everyPage((pageToken) =>
      service.listModels({ pageToken, showFailed: true }, lookUp),
    );
    models.value = all.flatMap((page) => page.models);
    const found = await everyPage((pageToken) => service.listAdapters({ pageToken }, lookUp));
    adapters.value = found.flatMap((page) => page.adapters);
    catalogProblem.value = undefined;
  } catch (thrown) {
    catalogProblem.value = problemOf(thrown);
  }
}

/** Follows every change of the models until `signal` aborts. Throws what the call throws. */
export async function watchModels(signal: AbortSignal): Promise<void> {
  const told = new Map<string, Model>();
  let complete = false;
  for await (const { event } of service.watchModels({}, { signal })) {
    if (event.case === "model") told.set(event.value.name, event.value);
    if (event.case === "removed") told.delete(event.value);
    if (event.case === "complete") complete = true;
    if (complete) models.value = [...told.values()].sort((a, b) => a.name.localeCompare(b.name));
  }
}

/** Shows a model as a call has returned it. */
export function replaceModel(model: Model): void {
  models.value = models.peek()?.map((known) => (known.name === model.name ? model : known));
}
