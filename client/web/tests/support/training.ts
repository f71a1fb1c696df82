// What the tests of training share: folders of pictures, and how the page is driven there.
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Page } from "playwright-core";

const data = fileURLToPath(new URL("../../../../tests/data", import.meta.url));
/** A zip archive with two classes of one picture each. */
export const archive = join(data, "uploads/pets.zip");
const picture = join(data, "pictures/upright.png");

/** A folder "shapes" with two classes and, in one of them, a file that is broken. */
export function pictureFolder(): string {
  const folder = join(mkdtempSync(join(tmpdir(), "denoised-pictures-")), "shapes");
  for (const name of ["round", "square"]) {
    mkdirSync(join(folder, name), { recursive: true });
    for (let i = 0; i < 3; i++) copyFileSync(picture, join(folder, name, `${i}.png`));
  }
  writeFileSync(join(folder, "round", "broken.png"), "no picture");
  writeFileSync(join(folder, "readme.txt"), "about the shapes");
  return folder;
}

/** A folder with pictures of 32 MiB: behind the end of a PNG may be anything. */
export function largeFolder(): string {
  const folder = join(mkdtempSync(join(tmpdir(), "denoised-pictures-")), "large");
  mkdirSync(folder);
  const bytes = Buffer.concat([readFileSync(picture), Buffer.alloc(2 ** 24)]);
  for (const name of ["a.png", "b.png"]) writeFileSync(join(folder, name), bytes);
  return folder;
}

/** A new folder for the server's state. */
export const stateFolder = (): string => mkdtempSync(join(tmpdir(), "denoised-state-"));

/** Chooses files with one of the two pickers and uploads them under a name. */
export async function upload(page: Page, path: string, name: string): Promise<void> {
  const picker = path === archive ? "Choose files" : "Choose a folder";
  await page.getByLabel(picker).setInputFiles(path);
  await page.locator('[name="header.name"]').fill(name);
  await page.getByRole("button", { name: "Upload", exact: true }).click();
  await uploaded(page, name);
}

export const uploadCard = (page: Page, name: string) =>
  page.locator(`[data-upload="datasets/${name}"]`);

/** Waits until the server has read an upload. */
export async function uploaded(page: Page, name: string): Promise<void> {
  await page.locator(`[data-upload="datasets/${name}"][data-state="done"]`).waitFor();
}

/** The address of a form for a job on `dataset` that takes little time. */
export function smallJob(dataset: string, settings: Record<string, string> = {}): string {
  const all = {
    "training.dataset": `datasets/${dataset}`,
    "training.new_network.width": "16",
    "training.new_network.height": "16",
    "training.new_network.block_out_channels": "32,32",
    "training.new_network.layers_per_block": "1",
    "training.batch_size": "2",
    "training.samples.count": "2",
    "training.samples.sampler.steps": "2",
    ...settings,
  };
  return `#train/new?${new URLSearchParams(all).toString()}`;
}

export async function startJob(page: Page): Promise<void> {
  await page.getByRole("button", { name: "Start training" }).click();
  await page.locator(".job[data-state]").waitFor();
}

/** Waits until the job that is shown is in `state`. */
export async function reachJob(page: Page, state: string): Promise<void> {
  await page.locator(`.job[data-state="${state}"]`).waitFor();
}

/** Waits until the loss of more than `points` reports is shown. Returns how many there are. */
export async function reachPoints(page: Page, points: number): Promise<number> {
  const shown = await page.waitForFunction((wanted) => {
    const text = document.querySelector<HTMLElement>(".curves")?.dataset["points"];
    return Number(text ?? 0) > wanted ? Number(text) : 0;
  }, points);
  return shown.jsonValue();
}
