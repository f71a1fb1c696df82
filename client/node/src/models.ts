// The models and adapters that a server can generate with.
import { Call } from "./call.js";
import type { Connection } from "./connection.js";
import { DenoisedError } from "./errors.js";
import { modelName } from "./names.js";
import type { CallOptions } from "./options.js";
import { allPages } from "./pages.js";
import type { Event, Plain } from "./plain.js";
import * as proto from "./proto.js";
import { resumable } from "./resumable.js";
import { toEvent, toPlain } from "./to-plain.js";

export type Model = Plain<proto.Model>;
export type Adapter = Plain<proto.Adapter>;
/**
 * A "model" as it is now; one that was "removed"; "complete" once every model that there was at the
 * beginning has been told.
 */
export type ModelEvent = Event<proto.ModelEvent>;

/** Names are "emoji-32" or "models/emoji-32". */
export class Models {
  constructor(private readonly connection: Connection) {}

  /** By name. With `showFailed` also those whose files are broken; their `error` says how. */
  async list(options: CallOptions & { showFailed?: boolean } = {}): Promise<Model[]> {
    const { showFailed = false } = options;
    const call = this.connection.brief(options);
    const messages = await allPages(
      (pageToken) =>
        this.connection.unary(proto.Models.method.listModels, { pageToken, showFailed }, call),
      (page) => page.models,
    );
    return messages.map((message) => toPlain(proto.ModelSchema, message));
  }

  /** @throws DenoisedError NOT_FOUND if there is no such model. */
  async get(name: string, options?: CallOptions): Promise<Model> {
    const call = this.connection.brief(options);
    const request = { name: modelName(name) };
    const message = await this.connection.unary(proto.Models.method.getModel, request, call);
    return toPlain(proto.ModelSchema, message);
  }

  /**
   * Every model as it is now, failed ones included, then `complete`, then every change.
   *
   * @throws DenoisedError UNAVAILABLE when the server stops or the connection breaks. Watch again:
   * the new watch tells every model.
   */
  async *watch(options: CallOptions = {}): AsyncGenerator<ModelEvent, void> {
    const call = new Call(options);
    const messages = resumable(this.connection, call, {
      begin: () => this.connection.serverStream(proto.Models.method.watchModels, {}, call),
    });
    for await (const message of messages) {
      const event = toEvent(proto.ModelEventSchema, message);
      if (event) yield event;
    }
  }

  /**
   * Loads a model into memory, and returns once it is ready, however long that takes.
   *
   * @throws DenoisedError PERMISSION_DENIED unless the server runs with --manage-models; NOT_FOUND;
   * FAILED_PRECONDITION if its files are broken or exceed the server's memory for models.
   */
  async load(name: string, options?: CallOptions): Promise<Model> {
    const request = { name: modelName(name) };
    const call = new Call(options);
    const message = await this.connection.unary(proto.Models.method.loadModel, request, call);
    return toPlain(proto.ModelSchema, message);
  }

  /**
   * Frees a model's memory once the requests that use it are done. The next request loads it again.
   *
   * @throws DenoisedError PERMISSION_DENIED unless the server runs with --manage-models; NOT_FOUND.
   */
  async unload(name: string, options?: CallOptions): Promise<Model> {
    const request = { name: modelName(name) };
    const call = this.connection.brief(options);
    const message = await this.connection.unary(proto.Models.method.unloadModel, request, call);
    return toPlain(proto.ModelSchema, message);
  }

  /**
   * Removes a model's folder from the server's disk.
   *
   * @throws DenoisedError PERMISSION_DENIED unless the server runs with --manage-models; NOT_FOUND;
   * FAILED_PRECONDITION if the folder cannot be removed.
   */
  async delete(name: string, options?: CallOptions): Promise<void> {
    const request = { name: modelName(name) };
    const call = this.connection.brief(options);
    await this.connection.unary(proto.Models.method.deleteModel, request, call, "once");
  }

  /**
   * Adapters (LoRA) by name, broken ones included; with `model` only those that fit it.
   *
   * @throws DenoisedError NOT_FOUND if there is no such model; FAILED_PRECONDITION if it does not
   * load.
   */
  async listAdapters(options: CallOptions & { model?: string } = {}): Promise<Adapter[]> {
    const model = options.model === undefined ? "" : modelName(options.model);
    const call = this.connection.brief(options);
    const messages = await allPages(
      (pageToken) =>
        this.connection.unary(proto.Models.method.listAdapters, { pageToken, model }, call),
      (page) => page.adapters,
    );
    return messages.map((message) => toPlain(proto.AdapterSchema, message));
  }
}

/**
 * The label of a class of a model, by its name in upper or lower case.
 *
 * @throws DenoisedError INVALID_ARGUMENT with the names that there are.
 */
export function labelOf(model: Model, className: string): number {
  const wanted = className.toLowerCase();
  const found = model.classes.find(({ displayName }) => displayName.toLowerCase() === wanted);
  if (found) return found.label;
  const names = model.classes.map(({ displayName, label }) => `${displayName} (${label})`);
  const known = names.length > 0 ? `there are: ${names.join(", ")}` : "the model has no classes";
  throw DenoisedError.invalidFields([
    {
      field: "class_label",
      description: `no class is named ${JSON.stringify(className)}; ${known}`,
    },
  ]);
}
