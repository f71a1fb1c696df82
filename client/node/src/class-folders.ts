// Folders that were meant as classes and hold nothing to train on.
import type { LeftOutFile } from "./picture-tar.js";

// So many folders are named; a message is short.
const mostShown = 5;

/**
 * Says of each folder whose files are all left out that its class would be missing, which would
 * shift the labels of the classes after it. Notes beside the pictures of a class, or above the
 * classes, make no class.
 */
export function findEmptyClasses(pictures: string[], leftOut: readonly LeftOutFile[]): string[] {
  const withPictures = new Set(pictures.map(folderOf));
  const classes = new Set([...withPictures].map(lastPart));
  const withOtherFiles = new Set(leftOut.map(({ name }) => folderOf(name)));
  const all = [...withPictures, ...withOtherFiles];
  const isEmptyClass = (folder: string) =>
    !selfAndAbove(folder).some((above) => withPictures.has(above)) &&
    !all.some((other) => folder === "" || other.startsWith(`${folder}/`)) &&
    !classes.has(lastPart(folder));
  const empty = [...withOtherFiles].filter(isEmptyClass);
  const shown = empty.slice(0, mostShown).map((folder) => describe(folder, leftOut));
  const more = empty.length - shown.length;
  return more > 0 ? [...shown, `and ${more} more such folders`] : shown;
}

function describe(folder: string, leftOut: readonly LeftOutFile[]): string {
  const first = leftOut.find(({ name }) => folderOf(name) === folder);
  const why = first ? ` (the first file, "${lastPart(first.name)}": ${first.reason})` : "";
  return `the folder "${folder}" holds no picture${why}; remove the folder or convert its files`;
}

function folderOf(name: string): string {
  return name.slice(0, Math.max(0, name.lastIndexOf("/")));
}

function lastPart(name: string): string {
  return name.slice(name.lastIndexOf("/") + 1);
}

// "a/b", "a" and "" for "a/b".
function selfAndAbove(folder: string): string[] {
  return folder === "" ? [""] : [folder, ...selfAndAbove(folderOf(folder))];
}
