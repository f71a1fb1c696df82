// What an upload sends: pictures as a tar that is put together here, or archives as they are.
import { DatasetFormat } from "../../gen/denoised/v1/datasets_pb.ts";
import type { PickedFile } from "./picked.ts";
import { tarOf } from "./tar.ts";

export interface Parcel {
  /** A name for the data set: that of the folder or the file. */
  name: string;
  /** The bytes of the upload. */
  bytes: Blob;
  format: DatasetFormat;
  /** How many pictures were found; undefined in an archive, which the server looks into. */
  pictures?: number;
  /** Files that are not sent. */
  leftOut: LeftOut[];
}

export interface LeftOut {
  file: string;
  reason: string;
}

/** Why there is nothing to upload, and what to do. */
export class NothingToUpload extends Error {}

const pictureNames = /\.(png|jpe?g|jpe|jif|jfif|jfi|webp)$/i;
const nameBytesMax = 1024;

/** Throws NothingToUpload. */
export async function parcelOf(picked: readonly PickedFile[]): Promise<Parcel> {
  const visible = picked.filter(({ path }) => !path.split("/").some((part) => /^\./.test(part)));
  if (visible.length === 0)
    throw new NothingToUpload("There is no file in it. Choose a folder with pictures.");
  const judged = await Promise.all(
    visible.map(async (one) => ({ ...one, reason: await reasonToLeaveOut(one) })),
  );
  const pictures = judged.filter(({ reason }) => reason === undefined);
  return pictures.length > 0 ? parcelOfPictures(pictures, judged) : parcelOfArchives(visible);
}

async function reasonToLeaveOut({ path, file }: PickedFile): Promise<string | undefined> {
  if (new TextEncoder().encode(path).length > nameBytesMax)
    return `its name has more than ${nameBytesMax} bytes`;
  // eslint-disable-next-line no-control-regex -- they are what is looked for
  if (/[\x00-\x1f\x7f]/.test(path)) return "its name holds control characters";
  if (pictureNames.test(path)) return undefined; // the server says what is wrong with a broken one
  const start = new Uint8Array(await file.slice(0, 12).arrayBuffer());
  return beginsAsPicture(String.fromCharCode(...start)) ? undefined : "it is not a picture";
}

const beginsAsPicture = (start: string) =>
  start.startsWith("\x89PNG\r\n\x1a\n") ||
  start.startsWith("\xff\xd8\xff") ||
  (start.startsWith("RIFF") && start.slice(8) === "WEBP");

type Judged = PickedFile & { reason?: string };

function parcelOfPictures(pictures: readonly Judged[], all: readonly Judged[]): Parcel {
  const folder = commonFolder(all);
  const files = pictures.map(({ path, file }) => ({ name: path.slice(folder.length), file }));
  return {
    name: nameFrom(folder.split("/").at(-2) ?? "pictures"),
    bytes: tarOf(files.sort((a, b) => compareBytes(a.name, b.name))),
    format: DatasetFormat.TAR,
    pictures: files.length,
    leftOut: all.flatMap(({ path, reason }) =>
      reason === undefined ? [] : [{ file: path.slice(folder.length), reason }],
    ),
  };
}

/** "pets/" if that is where all files are. Empty: they have no folder in common. */
function commonFolder(files: readonly PickedFile[]): string {
  const [first = "", ...others] = [...new Set(files.map(({ path }) => path.split("/", 1)[0]))];
  const isFolder = files.every(({ path }) => path.includes("/"));
  return isFolder && others.length === 0 ? `${first}/` : "";
}

function parcelOfArchives(files: readonly PickedFile[]): Parcel {
  const [first] = files;
  const format = formatOf(files.map(({ path }) => path));
  if (first === undefined || (files.length > 1 && format === DatasetFormat.TAR))
    throw new NothingToUpload(
      `None of the ${files.length} files is a picture. Choose PNG, JPEG or WebP files, a folder ` +
        "of them, or one archive.",
    );
  const inOrder = [...files].sort((a, b) => compareBytes(a.path, b.path));
  return {
    name: nameFrom(first.file.name),
    bytes: new Blob(inOrder.map(({ file }) => file)),
    format,
    leftOut: [],
  };
}

// By the names under which these data sets are published; their files follow each other.
function formatOf(paths: readonly string[]): DatasetFormat {
  if (paths.every((path) => /idx[13]-ubyte/.test(path))) return DatasetFormat.MNIST;
  if (paths.every((path) => /(data|test)_batch.*\.bin/.test(path))) return DatasetFormat.CIFAR10;
  return DatasetFormat.TAR;
}

// Letters, digits and ._-, beginning with a letter or digit, and without the endings of a file.
function nameFrom(text: string): string {
  const base = text.replace(/(\.(tar|zip|tgz|txz|gz|xz|zst|bin))+$/i, "");
  const name = base.replace(/[^\w.-]+/g, "-").replace(/^[^A-Za-z0-9]+|-+$/g, "");
  return name.slice(0, 128);
}

// As the server sorts classes.
function compareBytes(a: string, b: string): number {
  const [left, right] = [a, b].map((text) => new TextEncoder().encode(text));
  if (left === undefined || right === undefined) return 0;
  const at = left.findIndex((byte, i) => byte !== right[i]);
  return at < 0 ? left.length - right.length : (left[at] ?? 0) - (right[at] ?? -1);
}
