// Starting from a picture, and replacing a part of it.
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Page } from "playwright-core";
import { Generations } from "../src/gen/denoised/v1/generations_pb.ts";
import { control, finishedImage, generate, reach, stage, Visit } from "./support/browser.ts";
import { textModel } from "./support/denoised.ts";

const picture = join(textModel, "../inpaint-9ch/images/image-32x32.png");
const settings =
  "#create?model=models/emoji-32&class_label=0&seed=3&sampler.sampler=ddim&sampler.steps=20";

let visit: Visit;
before(async () => (visit = await Visit.begin()));
after(() => visit.end());

async function choosePicture(page: Page): Promise<void> {
  await page.locator('input[type="file"]').setInputFiles(picture);
  await page.getByRole("button", { name: "Remove" }).waitFor();
}

test("images start from a picture, as far from it as the strength says", async () => {
  const page = await visit.open(settings);
  await choosePicture(page);
  await control(page, "start.image.strength").fill("0.5");
  await generate(page);
  await reach(page, "succeeded");
  const name = (await stage(page).getAttribute("data-run")) ?? "";
  const { accepted } = await visit.denoised.client(Generations).getGeneration({ name });
  assert.equal(accepted?.firstStep, 10);
  assert.equal(accepted.steps, 10);
  const image = await finishedImage(page);

  // The address names the picture, and this browser has kept it.
  await page.goto(page.url().replace(/&generation=.*/, ""));
  await page.reload();
  await page.getByAltText("The picture that the images start from").waitFor();
  await generate(page);
  await reach(page, "succeeded");
  assert.equal(await finishedImage(page), image);

  // Another browser has not, and says so.
  const other = await visit.open(new URL(page.url()).hash.replace(/&generation=.*/, ""));
  await other.getByText("does not have the picture").first().waitFor();
});

test("only the painted part is replaced", async () => {
  const page = await visit.open(settings);
  await choosePicture(page);
  await page.getByRole("radio", { name: "Replace a part" }).check();
  await page.getByRole("button", { name: "Bottom" }).click();
  await page.waitForURL(/inpainting\.mask\.data=/);
  await generate(page);
  await reach(page, "succeeded");
  const original = await page.evaluate(
    pixelsOf,
    await page.locator(".mask img").getAttribute("src"),
  );
  const result = await page.evaluate(pixelsOf, await finishedImage(page));
  const half = original.length / 2;
  assert.deepEqual(result.slice(0, half), original.slice(0, half));
  assert.notDeepEqual(result.slice(half), original.slice(half));
});

test("a mask is painted with the pointer", async () => {
  const page = await visit.open(settings);
  await choosePicture(page);
  await page.getByRole("radio", { name: "Replace a part" }).check();
  const box = await page.locator(".mask canvas").boundingBox();
  assert.ok(box);
  await page.mouse.move(box.x + box.width * 0.2, box.y + box.height / 2);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.8, box.y + box.height / 2);
  await page.mouse.up();
  await page.waitForURL(/inpainting\.mask\.data=/);
  const alpha = await page.locator(".mask canvas").evaluate((element) => {
    const canvas = element as HTMLCanvasElement;
    const context = canvas.getContext("2d");
    const { width, height } = canvas;
    const middle = context?.getImageData(width / 2, height / 2, 1, 1).data[3];
    const top = context?.getImageData(width / 2, height / 10, 1, 1).data[3];
    return [middle, top];
  });
  assert.deepEqual(alpha, [255, 0]);
});

/** The colours of a picture, in the page. */
async function pixelsOf(url: string | null): Promise<number[]> {
  const image = new Image();
  image.src = url ?? "";
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const context = canvas.getContext("2d");
  context?.drawImage(image, 0, 0);
  return [...(context?.getImageData(0, 0, canvas.width, canvas.height).data ?? [])];
}
