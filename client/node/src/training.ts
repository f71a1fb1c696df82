// Jobs that train and evaluate networks.
import { randomUUID } from "node:crypto";

import { create, type MessageInitShape } from "@bufbuild/protobuf";

import { Call } from "./call.js";
import type { Connection } from "./connection.js";
import type { Model } from "./models.js";
import { datasetName, jobName, modelName } from "./names.js";
import type { CallOptions } from "./options.js";
import { allPages } from "./pages.js";
import type { Event, Init, Plain } from "./plain.js";
import * as proto from "./proto.js";
import { resumable } from "./resumable.js";
import { toMessage } from "./to-message.js";
import { toEvent, toPlain } from "./to-plain.js";

export type TrainingJob = Plain<proto.TrainingJob>;
export type Checkpoint = Plain<proto.Checkpoint>;
/**
 * What happened to a job: stateChange, progress, sampleGrid, checkpoint, evaluation, published,
 * notice.
 */
export type TrainingEvent = Event<proto.TrainingEvent>;

/** What to train, on which data set, and how. The server's default applies to what is absent. */
export type TrainingSettings = Init<proto.TrainingSettings>;
/** Which model to compare with which data set, and how. */
export type EvaluationSettings = Init<proto.EvaluationSettings>;

export interface JobOptions extends CallOptions {
  /** Makes it safe to create the job again. Absent: this client draws one for its own retries. */
  requestId?: string;
  /** Higher values run first. Default: 0. */
  priority?: number;
  labels?: Record<string, string>;
}

export interface WatchJobOptions extends CallOptions {
  /** The number of the last event that the caller has. Absent: from the beginning. */
  resumeAfter?: number;
}

export interface PublishOptions extends CallOptions {
  /** The model to make or to replace: "emoji", or "models/emoji". */
  model: string;
  /** The checkpoint to publish, by its step. Absent: the newest. */
  step?: number;
  /** The average to publish. Absent: the one with the greatest decay. */
  emaDecay?: number;
  /** Allows replacing a model with another shape, other classes or another schedule. */
  allowReplace?: boolean;
  /** Of the weights in the model's file. Default: "float32". */
  precision?: Init<proto.PublishModelRequest>["precision"];
}

type Work = Pick<MessageInitShape<typeof proto.CreateTrainingJobRequestSchema>, "work">;

/** Names are "1" or "trainingJobs/1". Every call needs a server with --state. */
export class Training {
  constructor(private readonly connection: Connection) {}

  /**
   * Queues a job that trains a network.
   *
   * @throws DenoisedError INVALID_ARGUMENT with every wrong setting; NOT_FOUND; FAILED_PRECONDITION
   * if the data set is not ready; RESOURCE_EXHAUSTED if the queue of jobs is full.
   */
  async create(settings: TrainingSettings, options: JobOptions = {}): Promise<TrainingJob> {
    const { dataset, baseModel } = settings;
    const value = toMessage(proto.TrainingSettingsSchema, {
      ...settings,
      dataset: dataset && datasetName(dataset),
      baseModel: baseModel && modelName(baseModel),
    });
    return this.#queue({ work: { case: "training", value } }, options);
  }

  /** Queues a job that compares the images of a model with a data set. Errors as for `create`. */
  async evaluate(settings: EvaluationSettings, options: JobOptions = {}): Promise<TrainingJob> {
    const { dataset, model } = settings;
    const value = toMessage(proto.EvaluationSettingsSchema, {
      ...settings,
      dataset: dataset && datasetName(dataset),
      model: model && modelName(model),
    });
    return this.#queue({ work: { case: "evaluation", value } }, options);
  }

  /** @throws DenoisedError NOT_FOUND if there is no such job. */
  async get(name: string, options?: CallOptions): Promise<TrainingJob> {
    const method = proto.Training.method.getTrainingJob;
    const call = this.connection.brief(options);
    return asPlain(await this.connection.unary(method, { name: jobName(name) }, call));
  }

  /** The newest first, without the sheets of their evaluations; with `states` only some. */
  async list(
    options: CallOptions & { states?: NonNullable<TrainingJob["state"]>[] } = {},
  ): Promise<TrainingJob[]> {
    const method = proto.Training.method.listTrainingJobs;
    const call = this.connection.brief(options);
    const request = toMessage(proto.ListTrainingJobsRequestSchema, { states: options.states });
    const messages = await allPages(
      (pageToken) => this.connection.unary(method, { ...request, pageToken }, call),
      (page) => page.jobs,
    );
    return messages.map(asPlain);
  }

  /**
   * Every event of a job until it ends, from the beginning or after `resumeAfter`. Survives broken
   * connections and a server that starts again. Leaving the loop leaves the job alone.
   *
   * @throws DenoisedError NOT_FOUND if there is no such job.
   */
  async *watch(name: string, options: WatchJobOptions = {}): AsyncGenerator<TrainingEvent, void> {
    const call = new Call(options);
    const { resumeAfter } = options;
    const follow = (after: bigint | undefined) =>
      this.connection.serverStream(
        proto.Training.method.watchTrainingJob,
        { name: jobName(name), resumeAfter: after },
        call,
      );
    const messages = resumable(this.connection, call, {
      begin: () => follow(resumeAfter === undefined ? undefined : BigInt(resumeAfter)),
      resume: ({ sequence }) => follow(sequence),
    });
    for await (const message of messages) {
      const event = toEvent(proto.TrainingEventSchema, message);
      if (event) yield event;
    }
  }

  /** Saves a checkpoint at the job's next step and stops the job until it is resumed. */
  async pause(name: string, options?: CallOptions): Promise<TrainingJob> {
    const method = proto.Training.method.pauseTrainingJob;
    const call = this.connection.brief(options);
    return asPlain(await this.connection.unary(method, { name: jobName(name) }, call, "once"));
  }

  /** @throws DenoisedError FAILED_PRECONDITION if the job is neither paused nor about to be. */
  async resume(name: string, options?: CallOptions): Promise<TrainingJob> {
    const method = proto.Training.method.resumeTrainingJob;
    const call = this.connection.brief(options);
    return asPlain(await this.connection.unary(method, { name: jobName(name) }, call, "once"));
  }

  /** Stops the job for good at its next step. What it has saved stays. */
  async cancel(name: string, options?: CallOptions): Promise<TrainingJob> {
    const method = proto.Training.method.cancelTrainingJob;
    const call = this.connection.brief(options);
    return asPlain(await this.connection.unary(method, { name: jobName(name) }, call, "once"));
  }

  /** Removes a job that has ended, with its checkpoints. Models published from it stay. */
  async delete(name: string, options?: CallOptions): Promise<void> {
    const method = proto.Training.method.deleteTrainingJob;
    const call = this.connection.brief(options);
    await this.connection.unary(method, { name: jobName(name) }, call, "once");
  }

  /** The checkpoints that the server keeps of a job, the newest first. */
  async listCheckpoints(job: string, options?: CallOptions): Promise<Checkpoint[]> {
    const method = proto.Training.method.listCheckpoints;
    const call = this.connection.brief(options);
    const messages = await allPages(
      (pageToken) => this.connection.unary(method, { parent: jobName(job), pageToken }, call),
      (page) => page.checkpoints,
    );
    return messages.map((message) => toPlain(proto.CheckpointSchema, message));
  }

  /**
   * Publishes what a job has learned as a model of the server, or as a new version of one, and
   * returns once it is served.
   *
   * @throws DenoisedError FAILED_PRECONDITION if there is no checkpoint yet, or the model of that
   * name differs and `allowReplace` is not set; DATA_LOSS if the checkpoint is damaged.
   */
  async publish(job: string, options: PublishOptions): Promise<Model> {
    const { model, step, emaDecay, allowReplace, precision, ...callOptions } = options;
    const source = step === undefined ? jobName(job) : `${jobName(job)}/checkpoints/${step}`;
    const request = toMessage(proto.PublishModelRequestSchema, {
      source,
      model: modelName(model),
      emaDecay,
      allowReplace,
      precision,
    });
    const method = proto.Training.method.publishModel;
    const message = await this.connection.unary(method, request, new Call(callOptions), "once");
    return toPlain(proto.ModelSchema, message);
  }

  async #queue(work: Work, options: JobOptions): Promise<TrainingJob> {
    const { requestId = randomUUID(), priority, labels, ...callOptions } = options;
    const request = create(proto.CreateTrainingJobRequestSchema, {
      ...work,
      requestId,
      priority,
      labels,
    });
    const method = proto.Training.method.createTrainingJob;
    const message = await this.connection.unary(
      method,
      request,
      this.connection.brief(callOptions),
    );
    return asPlain(message);
  }
}

function asPlain(message: proto.TrainingJob): TrainingJob {
  return toPlain(proto.TrainingJobSchema, message);
}
