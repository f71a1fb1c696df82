// A tar archive of pictures, made while it is read: what an upload of a folder sends.
import { open, readdir, stat } from "node:fs/promises";
import path from "node:path";

import { DenoisedError } from "./errors.js";
import { findEmptyClasses } from "./class-folders.js";
import { isPicture, magicBytes } from "./picture-format.js";
import { endOfArchive, tarHeader, tarPadding } from "./tar-header.js";
import { cannotRead, readFile, skipBytes, type UploadSource } from "./upload-source.js";

/** A file to train on. Its class is the folder in its name: "cats" for "cats/1.png". */
export interface DatasetFile {
  name: string;
  data: Uint8Array;
}

/** A file that was not sent, because it is not a picture or because of its name. */
export interface LeftOutFile {
  name: string;
  reason: string;
}

interface Member {
  name: string;
  size: number;
  start: Uint8Array;
  content: () => AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

const longestNameBytes = 1024;

/**
 * The same pictures make the same bytes, so that an upload can continue where it stopped: names are
 * sorted, and only names and contents go into the archive.
 */
export class PictureTar implements UploadSource {
  readonly size: number;
  readonly leftOut: readonly LeftOutFile[];
  readonly #members: readonly Member[];

  private constructor(files: Member[], where: string) {
    const problems = files.map((file) => ({ file, reason: problemOf(file) }));
    const leftOut = problems.flatMap(({ file: { name }, reason }) =>
      reason === undefined ? [] : [{ name, reason }],
    );
    const members = problems.flatMap(({ file, reason }) => (reason === undefined ? [file] : []));
    if (members.length === 0) throw noPicture(where, leftOut);
    const names = members.map(({ name }) => name);
    const emptyClasses = findEmptyClasses(names, leftOut);
    if (emptyClasses.length > 0) throw invalid(emptyClasses.join("; "));
    this.#members = members;
    this.leftOut = leftOut;
    this.size = members.reduce((size, member) => size + memberBytes(member), endOfArchive.length);
  }

  /**
   * The pictures in a folder and the folders below it. Skips names that begin with a dot; follows
   * links to files, but not to folders.
   *
   * @throws DenoisedError INVALID_ARGUMENT if there is no picture, a class would lose all of its
   * files, or a file cannot be read.
   */
  static async fromFolder(folder: string): Promise<PictureTar> {
    const files: Member[] = [];
    for (const name of await fileNames(folder, "")) files.push(await fileMember(folder, name));
    return new PictureTar(sortedByName(files), folder);
  }

  /** The pictures among files in memory. Errors are those of `fromFolder`. */
  static async fromFiles(
    files: AsyncIterable<DatasetFile> | Iterable<DatasetFile>,
  ): Promise<PictureTar> {
    const members: Member[] = [];
    for await (const { name, data } of files) {
      const start = data.subarray(0, magicBytes);
      members.push({ name, size: data.length, start, content: () => [data] });
    }
    return new PictureTar(sortedByName(members), "the files");
  }

  async *read(offset: number): AsyncGenerator<Uint8Array, void> {
    let skip = offset;
    for (const member of this.#members) {
      const size = memberBytes(member);
      if (skip < size) yield* skipBytes(memberParts(member), skip);
      skip = Math.max(0, skip - size);
    }
    yield* skipBytes([endOfArchive], skip);
  }
}

// Byte by byte, as the server sorts classes.
function sortedByName(files: Member[]): Member[] {
  return files.sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)));
}

function problemOf({ name, start }: Member): string | undefined {
  if (Buffer.byteLength(name) > longestNameBytes) {
    return `its name has more than ${longestNameBytes} bytes`;
  }
  if (name.includes("\ufffd")) return "its name is not UTF-8";
  // eslint-disable-next-line no-control-regex -- they are what is looked for
  if (/[\x00-\x1f\x7f]/.test(name)) return "its name holds control characters";
  return isPicture(name, start) ? undefined : "not a picture";
}

function memberBytes({ name, size }: Member): number {
  return tarHeader(name, size).length + size + tarPadding(size).length;
}

async function* memberParts(member: Member): AsyncGenerator<Uint8Array, void> {
  yield tarHeader(member.name, member.size);
  let read = 0;
  for await (const part of member.content()) {
    read += part.length;
    if (read > member.size) throw hasChanged(member.name);
    yield part;
  }
  if (read < member.size) throw hasChanged(member.name);
  yield tarPadding(member.size);
}

// Relative to `folder`, with slashes, in no order.
async function fileNames(folder: string, below: string): Promise<string[]> {
  const directory = path.join(folder, below);
  const entries = await readdir(directory, { withFileTypes: true }).catch((error: unknown) => {
    throw cannotRead(directory, error);
  });
  const names: string[] = [];
  for (const entry of entries) {
    const name = below === "" ? entry.name : `${below}/${entry.name}`;
    if (entry.name.startsWith(".")) continue;
    if (entry.isDirectory()) names.push(...(await fileNames(folder, name)));
    else if (entry.isFile() || (await leadsToFile(path.join(folder, name)))) names.push(name);
  }
  return names;
}

async function leadsToFile(link: string): Promise<boolean> {
  return stat(link).then(
    (target) => target.isFile(),
    () => false,
  );
}

async function fileMember(folder: string, name: string): Promise<Member> {
  const file = path.join(folder, name);
  try {
    const { size } = await stat(file);
    return { name, size, start: await firstBytes(file), content: () => readFile(file) };
  } catch (error) {
    throw cannotRead(file, error);
  }
}

async function firstBytes(file: string): Promise<Uint8Array> {
  const handle = await open(file);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(magicBytes), 0, magicBytes, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

function invalid(message: string): DenoisedError {
  return new DenoisedError("INVALID_ARGUMENT", message);
}

function noPicture(where: string, leftOut: LeftOutFile[]): DenoisedError {
  const [first] = leftOut;
  const others = first ? `; other files were found, such as "${first.name}" (${first.reason})` : "";
  return invalid(`there is no picture in ${where}${others}; PNG, JPEG and WebP files are read`);
}

function hasChanged(name: string): DenoisedError {
  const message = `"${name}" has changed since the upload began; begin again`;
  return new DenoisedError("FAILED_PRECONDITION", message);
}
