// What a model can do, whether it is in memory, and how to change that.
import { Code } from "@connectrpc/connect";
import { signal, useSignal } from "@preact/signals";
import { type Adapter, type Model, Model_State } from "../gen/denoised/v1/models_pb.ts";
import { SamplerSchema } from "../gen/denoised/v1/sampler_pb.ts";
import { go } from "../request/address.ts";
import { enumWordOf } from "../request/fields.ts";
import { models as service } from "../rpc/clients.ts";
import { type Problem, problemOf } from "../rpc/problem.ts";
import { Fact } from "../ui/fact.tsx";
import { Notice } from "../ui/notice.tsx";
import { bytes, compact } from "../ui/units.ts";
import { adaptersOf, replaceModel, shortName } from "./catalog.ts";

const stateWords: Record<Model_State, string> = {
  [Model_State.STATE_UNSPECIFIED]: "unknown",
  [Model_State.LOADED]: "in memory",
  [Model_State.LOADING]: "loading",
  [Model_State.UNLOADED]: "on disk",
  [Model_State.FAILED]: "broken",
};

/** The server has said that callers may not load and unload. */
export const managingRefused = signal(false);

export function ModelCard({ model }: { model: Model }) {
  const failed = model.state === Model_State.FAILED;
  return (
    <article class="card" data-model={model.name} data-state={stateWords[model.state]}>
      <header>
        <h2>{shortName(model.name)}</h2>
        <p class="state">{stateWords[model.state]}</p>
      </header>
      {model.error !== "" && (
        <Notice
          kind="error"
          title={failed ? "It does not load" : "Its newer version does not load"}
        >
          {model.error}
        </Notice>
      )}
      {!failed && <Facts model={model} />}
      {!failed && model.classes.length > 0 && <Classes model={model} />}
      {!failed && model.takesAdapters && <Adapters adapters={adaptersOf(model)} />}
      <Actions model={model} />
    </article>
  );
}

function Facts({ model }: { model: Model }) {
  const sampler = enumWordOf(SamplerSchema, model.defaultSampler?.sampler ?? 0);
  return (
    <dl class="facts">
      <Fact name="makes">
        {model.width} × {model.height}
        {model.channels === 1 ? ", gray" : ""}
        {model.sizeMultiple > 0 ? `, or multiples of ${model.sizeMultiple}` : ""}
      </Fact>
      <Fact name="from">{toldWhat(model)}</Fact>
      <Fact name="guidance">
        {!model.supportsGuidance
          ? "none"
          : model.defaultGuidanceScale > 0
            ? `${model.defaultGuidanceScale} by default`
            : "off by default"}
      </Fact>
      <Fact name="parameters">{compact(model.parameterCount)}</Fact>
      <Fact name="memory">{bytes(model.memoryBytes)}</Fact>
      <Fact name="predicts">{model.predictionType}</Fact>
      <Fact name="sampler">{sampler}</Fact>
      <Fact name="trained on">{model.numTrainTimesteps} timesteps</Fact>
      <Fact name="origin">{model.source}</Fact>
      <Fact name="version">{model.version}</Fact>
    </dl>
  );
}

function toldWhat(model: Model): string {
  if (model.takesPrompts) return "a prompt";
  return model.classes.length > 0 ? `${model.classes.length} classes` : "noise alone";
}

const mostShown = 16;

function Classes({ model }: { model: Model }) {
  const more = model.classes.length - mostShown;
  return (
    <ul class="chips" aria-label="Classes">
      {model.classes.slice(0, mostShown).map(({ label, displayName }) => (
        <li key={label}>{displayName || label}</li>
      ))}
      {more > 0 && <li>and {more} more</li>}
    </ul>
  );
}

function Adapters({ adapters }: { adapters: Adapter[] }) {
  if (adapters.length === 0)
    return <p class="explanation">Takes adapters; none that fits is here.</p>;
  return (
    <ul class="chips" aria-label="Adapters">
      {adapters.map(({ name, rank, error }) => (
        <li key={name} title={error || `rank ${rank}`} class={error === "" ? "" : "broken"}>
          {shortName(name)}
          <span class="hint">rank {rank}</span>
        </li>
      ))}
    </ul>
  );
}

function Actions({ model }: { model: Model }) {
  const busy = useSignal(false);
  const problem = useSignal<Problem | undefined>(undefined);
  const call = async (change: (request: { name: string }) => Promise<Model>) => {
    busy.value = true;
    problem.value = undefined;
    try {
      replaceModel(await change({ name: model.name }));
    } catch (thrown) {
      problem.value = problemOf(thrown);
      if (problem.value.code === Code.PermissionDenied) managingRefused.value = true;
    }
    busy.value = false;
  };
  const loaded = model.state === Model_State.LOADED || model.state === Model_State.LOADING;
  return (
    <footer>
      {model.state !== Model_State.FAILED && (
        <button
          type="button"
          class="primary"
          onClick={() => go({ view: "create", settings: { model: model.name }, generation: "" })}
        >
          Create with it
        </button>
      )}
      {model.state !== Model_State.FAILED && (
        <button
          type="button"
          disabled={busy.value || managingRefused.value}
          onClick={() => void call(loaded ? service.unloadModel : service.loadModel)}
        >
          {loaded ? "Unload" : "Load"}
        </button>
      )}
      {busy.value && <progress class="progress" aria-label={loaded ? "Unloading" : "Loading"} />}
      {problem.value && problem.value.code !== Code.PermissionDenied && (
        <Notice kind="error" title={problem.value.title}>
          {problem.value.message}
        </Notice>
      )}
    </footer>
  );
}
