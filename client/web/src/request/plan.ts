// What the chosen sampler will do: the levels of signal and noise before and after every step.
import { create } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { effect, signal } from "@preact/signals";
import { PlanSamplerRequestSchema } from "../gen/denoised/v1/image_generation_pb.ts";
import type { SamplerPlan } from "../gen/denoised/v1/sampler_plan_pb.ts";
import { selectedModel } from "../models/catalog.ts";
import { imageGeneration, lookUp } from "../rpc/clients.ts";
import { type Problem, problemOf } from "../rpc/problem.ts";
import { isAborted, sleep } from "../rpc/retry.ts";
import { address } from "./address.ts";
import { fill, type Settings } from "./fields.ts";

/** x = alpha * image + sigma * noise. */
export interface Level {
  alpha: number;
  sigma: number;
  /** What the network was told last. Undefined before the first step. */
  timestep?: number;
}

/** The level before the first step, then the one after each. Undefined until the server has answered. */
export const levels = signal<readonly Level[] | undefined>(undefined);
export const planProblem = signal<Problem | undefined>(undefined);

const typingPauseMs = 150;

function levelsOf(plan: SamplerPlan): Level[] {
  const result: Level[] = [];
  let before = { alpha: plan.evaluations[0]?.alpha ?? 0, sigma: plan.evaluations[0]?.sigma ?? 0 };
  result.push(before);
  plan.evaluations.forEach(({ endsStep, timestep }, i) => {
    if (!endsStep) return;
    const next = plan.evaluations[i + 1];
    before = next ?? { alpha: plan.finalAlpha, sigma: plan.finalSigma };
    result.push({ alpha: before.alpha, sigma: before.sigma, timestep });
  });
  return result;
}

async function ask(model: string, settings: Settings, signal: AbortSignal): Promise<void> {
  await sleep(typingPauseMs, signal);
  if (isAborted(signal)) return;
  const request = create(PlanSamplerRequestSchema, { model });
  if (fill(reflect(PlanSamplerRequestSchema, request), settings, () => undefined).length > 0)
    return;
  try {
    levels.value = levelsOf(await imageGeneration.planSampler(request, { ...lookUp, signal }));
    planProblem.value = undefined;
  } catch (thrown) {
    if (isAborted(signal)) return;
    planProblem.value = problemOf(thrown);
    levels.value = undefined;
  }
}

/** Keeps `levels` in step with the settings, until the page is closed. */
export function followPlan(): void {
  let asked = "";
  let asking = new AbortController();
  effect(() => {
    const model = selectedModel.value?.name;
    const settings = Object.fromEntries(
      Object.entries(address.value.settings).filter(([path]) => path.startsWith("sampler.")),
    );
    const question = JSON.stringify([model, settings]);
    if (model === undefined || question === asked) return;
    asked = question;
    asking.abort();
    asking = new AbortController();
    void ask(model, settings, asking.signal);
  });
}
