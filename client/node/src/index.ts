/**
 * The client of denoised, a server that generates images with diffusion models and trains them.
 *
 * @module
 */
export {
  type ActivitySnapshot,
  Client,
  type DiffuseEvent,
  type DiffuseOptions,
  type PlanOptions,
  type SamplerPlan,
} from "./client.js";
export { type Dataset, Datasets, type Upload, type UploadOptions } from "./datasets.js";
export { DenoisedError, type ErrorCode, type FieldViolation } from "./errors.js";
export type { GenerateOptions, SamplerChoice } from "./generate-options.js";
export {
  type GenerateEvent,
  type Generation,
  Generations,
  type ImageEvent,
  type PausedGeneration,
  type WatchOptions,
} from "./generations.js";
export { type Adapter, type Model, type ModelEvent, Models } from "./models.js";
export type { CallOptions, ClientOptions, TlsOptions } from "./options.js";
export type { DatasetFile, LeftOutFile } from "./picture-tar.js";
export type { Event, Init, Plain } from "./plain.js";
export type { SamplerName } from "./sampler-names.js";
export {
  type Checkpoint,
  type EvaluationSettings,
  type JobOptions,
  type PublishOptions,
  Training,
  type TrainingEvent,
  type TrainingJob,
  type TrainingSettings,
  type WatchJobOptions,
} from "./training.js";
