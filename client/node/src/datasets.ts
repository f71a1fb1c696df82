// Pictures to train on.
import { stat } from "node:fs/promises";
import path from "node:path";
import { crc32 } from "node:zlib";

import { create, type MessageInitShape } from "@bufbuild/protobuf";

import { Call } from "./call.js";
import type { Connection } from "./connection.js";
import { DenoisedError } from "./errors.js";
import { datasetName } from "./names.js";
import type { CallOptions } from "./options.js";
import { allPages } from "./pages.js";
import { type DatasetFile, type LeftOutFile, PictureTar } from "./picture-tar.js";
import type { Plain } from "./plain.js";
import * as proto from "./proto.js";
import { toPlain } from "./to-plain.js";
import { FileSource, inChunks, sha256, type UploadSource } from "./upload-source.js";

export type Dataset = Plain<proto.Dataset>;

export interface UploadOptions extends CallOptions {
  /** What to call the data set. Default: the name of the file or folder, without endings. */
  name?: string;
  /** Of a file: "tar" (or zip), "cifar10" or "mnist", plain or compressed. Default: "tar". */
  format?: "tar" | "cifar10" | "mnist";
  /** Called after each chunk with the bytes handed over so far. */
  onProgress?: (sentBytes: number, totalBytes: number) => void;
  /** Called before the upload for each file that is not sent. */
  onLeftOut?: (file: LeftOutFile) => void;
}

/** A folder or a file by its path, or files one after the other. */
export type Upload = string | AsyncIterable<DatasetFile> | Iterable<DatasetFile>;

type UploadMessage = MessageInitShape<typeof proto.UploadDatasetRequestSchema>;

const chunkBytes = 2 ** 18;

const formats = {
  tar: proto.DatasetFormat.TAR,
  cifar10: proto.DatasetFormat.CIFAR10,
  mnist: proto.DatasetFormat.MNIST,
};

/** Names are "pets" or "datasets/pets". Every call needs a server with --state. */
export class Datasets {
  constructor(private readonly connection: Connection) {}

  /**
   * Uploads pictures and returns once the server has read them; the data set's report says what is
   * in it. The pictures of a folder (each subfolder is a class) are sent as a tar that is made on
   * the way, and a file as it is. Files from an iterator are kept in memory until they are sent.
   *
   * An upload survives broken connections. One that was interrupted continues if the same is
   * uploaded again within a day.
   *
   * @throws DenoisedError INVALID_ARGUMENT if there is nothing to train on, or a file cannot be
   * read; ALREADY_EXISTS if there is a data set of this name; RESOURCE_EXHAUSTED if a quota or the
   * disk is full.
   */
  async upload(upload: Upload, options: UploadOptions = {}): Promise<Dataset> {
    const call = new Call(options);
    const source = await openSource(upload, options);
    const header = create(proto.UploadHeaderSchema, {
      name: datasetName(options.name ?? nameOf(upload)),
      format: formats[options.format ?? "tar"],
      totalBytes: BigInt(source.size),
      sha256: await sha256(source),
    });
    const retries = this.connection.retries(call);
    for (let isRepeated = false; ; isRepeated = true) {
      try {
        const received = await this.#received(header.name, call);
        if (isRepeated && received?.state === proto.Dataset_State.READY) return asPlain(received);
        header.offset = offsetOf(received);
        return asPlain(await this.#send(header, source, call, options.onProgress));
      } catch (error) {
        await retries.wait(isRepeated ? asLostConnection(error) : error);
      }
    }
  }

  /** By name, their reports without contact sheets. */
  async list(options?: CallOptions): Promise<Dataset[]> {
    const method = proto.Datasets.method.listDatasets;
    const call = this.connection.brief(options);
    const messages = await allPages(
      (pageToken) => this.connection.unary(method, { pageToken }, call),
      (page) => page.datasets,
    );
    return messages.map(asPlain);
  }

  /** @throws DenoisedError NOT_FOUND if there is no such data set. */
  async get(name: string, options?: CallOptions): Promise<Dataset> {
    const method = proto.Datasets.method.getDataset;
    const call = this.connection.brief(options);
    return asPlain(await this.connection.unary(method, { name: datasetName(name) }, call));
  }

  /** @throws DenoisedError NOT_FOUND; FAILED_PRECONDITION if a job that has not ended uses it. */
  async delete(name: string, options?: CallOptions): Promise<void> {
    const method = proto.Datasets.method.deleteDataset;
    const call = this.connection.brief(options);
    await this.connection.unary(method, { name: datasetName(name) }, call, "once");
  }

  // The data set as far as the server has it.
  async #received(name: string, call: Call): Promise<proto.Dataset | undefined> {
    const method = proto.Datasets.method.getDataset;
    try {
      return await this.connection.unary(method, { name }, call);
    } catch (error) {
      if (error instanceof DenoisedError && error.code === "NOT_FOUND") return undefined;
      throw error;
    }
  }

  // One attempt to send what the server lacks.
  async #send(
    header: proto.UploadHeader,
    source: UploadSource,
    call: Call,
    onProgress: UploadOptions["onProgress"],
  ): Promise<proto.Dataset> {
    const messages = uploadMessages(header, source, onProgress);
    try {
      const method = proto.Datasets.method.uploadDataset;
      for await (const dataset of this.connection.stream(method, messages, call)) return dataset;
      throw new DenoisedError("INTERNAL", "the server has ended the upload without an answer");
    } finally {
      await messages.return(); // closes the files if the server has not taken all of them
    }
  }
}

async function* uploadMessages(
  header: proto.UploadHeader,
  source: UploadSource,
  onProgress: UploadOptions["onProgress"],
): AsyncGenerator<UploadMessage, void> {
  yield { message: { case: "header", value: header } };
  let sent = Number(header.offset);
  for await (const data of inChunks(source.read(sent), chunkBytes)) {
    yield { message: { case: "chunk", value: { data, crc32: crc32(data) } } };
    sent += data.length;
    onProgress?.(sent, source.size);
  }
}

async function openSource(upload: Upload, options: UploadOptions): Promise<UploadSource> {
  const isFolder = typeof upload === "string" && (await isDirectory(upload));
  if (typeof upload === "string" && !isFolder) return FileSource.open(upload);
  if (options.format !== undefined && options.format !== "tar") {
    const description = `must be tar for a folder and for single files; is ${options.format}`;
    throw DenoisedError.invalidFields([{ field: "header.format", description }]);
  }
  const tar = await (typeof upload === "string"
    ? PictureTar.fromFolder(upload)
    : PictureTar.fromFiles(upload));
  for (const file of tar.leftOut) options.onLeftOut?.(file);
  return tar;
}

async function isDirectory(upload: string): Promise<boolean> {
  return stat(upload).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

// "animals" for "data/animals.tar.gz".
function nameOf(upload: Upload): string {
  if (typeof upload !== "string") {
    const description = "must be given for files that come one after the other";
    throw DenoisedError.invalidFields([{ field: "header.name", description }]);
  }
  const base = path.basename(upload);
  const dot = base.indexOf(".", 1);
  return dot < 0 ? base : base.slice(0, dot);
}

// An upload that is complete and being read is continued after its last byte.
function offsetOf(received: proto.Dataset | undefined): bigint {
  const { UPLOADING, READING } = proto.Dataset_State;
  const continues = received?.state === UPLOADING || received?.state === READING;
  return continues ? received.receivedBytes : 0n;
}

// After a connection broke, the server may not have noticed yet that its call has ended.
function asLostConnection(error: unknown): unknown {
  if (!(error instanceof DenoisedError) || error.code !== "ABORTED") return error;
  return new DenoisedError("UNAVAILABLE", error.message, { connectionLost: true, cause: error });
}

function asPlain(message: proto.Dataset): Dataset {
  return toPlain(proto.DatasetSchema, message);
}
