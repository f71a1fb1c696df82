// Pictures that requests start from, kept in this browser: an address names them, but cannot hold
// them. The latest are kept.
import { signal } from "@preact/signals";

export interface Picture {
  id: string;
  blob: Blob;
}

const picturesKept = 40;
// Two pictures and a mask must fit into the 4 MiB that a server accepts by default.
const maxPictureBytes = 1_500_000;
const maxPictureSide = 1536;

/** Those that have been looked up or added. Undefined for one that this browser does not have. */
export const pictures = signal<ReadonlyMap<string, { url: string; bytes: Uint8Array } | undefined>>(
  new Map(),
);

export async function addPicture(blob: Blob): Promise<string> {
  const id = `${Date.now().toString(36)}-${randomText(6)}`;
  // A browser that may not store anything can still use the picture until the page is closed.
  await write({ id, blob }).catch(() => undefined);
  await remember(id, blob);
  return id;
}

/** Makes `pictures` know about `id`, whether this browser has it or not. */
export async function findPicture(id: string): Promise<void> {
  if (!pictures.peek().has(id)) await remember(id, await read(id).catch(() => undefined));
}

async function remember(id: string, blob: Blob | undefined) {
  const known = blob && {
    url: URL.createObjectURL(blob),
    bytes: new Uint8Array(await blob.arrayBuffer()),
  };
  pictures.value = new Map(pictures.peek()).set(id, known);
}

/**
 * The picture in a file, scaled down if it is larger than a request can carry. Throws an Error that
 * says what is wrong if the browser cannot read it.
 */
export async function pictureOfFile(file: Blob): Promise<Blob> {
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new Error("This file is no picture that the browser can read. Use PNG, JPEG or WebP.");
  });
  const scale = Math.min(1, maxPictureSide / Math.max(bitmap.width, bitmap.height));
  const readable = ["image/png", "image/jpeg", "image/webp"].includes(file.type);
  if (readable && file.size <= maxPictureBytes) return file;
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(bitmap.width * scale);
  canvas.height = Math.round(bitmap.height * scale);
  const context = canvas.getContext("2d");
  if (context) {
    context.fillStyle = "white"; // as the server lays transparent pixels over white
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  }
  return encode(canvas, "image/jpeg");
}

export function encode(canvas: HTMLCanvasElement, type: string): Promise<Blob> {
  return new Promise((resolve, reject) =>
    canvas.toBlob(
      (blob) =>
        blob ? resolve(blob) : reject(new Error("The browser could not encode the picture.")),
      type,
      0.95,
    ),
  );
}

/** Lower-case letters and digits. */
export function randomText(length: number): string {
  const letters = "abcdefghijklmnopqrstuvwxyz234567";
  return Array.from(
    crypto.getRandomValues(new Uint8Array(length)),
    (byte) => letters[byte % 32],
  ).join("");
}

function openStore(): Promise<IDBDatabase> {
  const opening = indexedDB.open("denoised", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore("pictures", { keyPath: "id" });
  return finished(opening);
}

const finished = <T>(request: IDBRequest<T>) =>
  new Promise<T>((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("IndexedDB failed"));
  });

async function write(picture: Picture): Promise<void> {
  const database = await openStore();
  const store = database.transaction("pictures", "readwrite").objectStore("pictures");
  await finished(store.put(picture));
  const ids = await finished(store.getAllKeys()); // oldest first: ids begin with the time
  for (const id of ids.slice(0, -picturesKept)) store.delete(id);
  database.close();
}

async function read(id: string): Promise<Blob | undefined> {
  const database = await openStore();
  const store = database.transaction("pictures").objectStore("pictures");
  const picture = (await finished(store.get(id))) as Picture | undefined;
  database.close();
  return picture?.blob;
}
