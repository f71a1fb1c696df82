// Samplers by name, as the `denoise` command takes them.
import type { EnumName } from "./enum-names.js";
import { Sampler } from "./proto.js";

// Names that include the order of the solver.
const withOrder = {
  dpm_solver_2: [Sampler.DPM_SOLVER, 2],
  dpm_solver_3: [Sampler.DPM_SOLVER, 3],
  dpmpp_2m: [Sampler.DPMPP, 2],
  dpmpp_3m: [Sampler.DPMPP, 3],
  dpmpp_2m_sde: [Sampler.DPMPP_SDE, 2],
  dpmpp_3m_sde: [Sampler.DPMPP_SDE, 3],
  dpm_solver_2s: [Sampler.DPM_SOLVER_SINGLESTEP, 2],
  dpm_solver_3s: [Sampler.DPM_SOLVER_SINGLESTEP, 3],
  dpmpp_2s: [Sampler.DPMPP_SINGLESTEP, 2],
  dpmpp_3s: [Sampler.DPMPP_SINGLESTEP, 3],
  dpmpp_2s_sde: [Sampler.DPMPP_SDE_SINGLESTEP, 2],
  unipc_1: [Sampler.UNIPC, 1],
  unipc_2: [Sampler.UNIPC, 2],
  unipc_3: [Sampler.UNIPC, 3],
} as const satisfies Record<string, readonly [Sampler, number]>;

/** The name of a sampler, such as "ddim", or of a sampler of a certain order, such as "dpmpp_2m". */
export type SamplerName = EnumName<Sampler> | keyof typeof withOrder;

/** The names that include an order. */
export const namesWithOrder: readonly string[] = Object.keys(withOrder);

/** What a name that includes an order means; undefined for every other name. */
export function samplerWithOrder(
  name: string,
): { sampler: Sampler; solverOrder: number } | undefined {
  if (!Object.hasOwn(withOrder, name)) return undefined;
  const [sampler, solverOrder] = withOrder[name as keyof typeof withOrder];
  return { sampler, solverOrder };
}
