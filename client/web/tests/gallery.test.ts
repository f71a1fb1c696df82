import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Sampler } from "../src/gen/denoised/v1/sampler_pb.ts";
import { ImageGeneration } from "../src/gen/denoised/v1/image_generation_pb.ts";
import { control, finishedImage, reach, stage, Visit } from "./support/browser.ts";

const many = 200;

let visit: Visit;
before(async () => {
  visit = await Visit.begin();
  for (let i = 0; i < many; i++) await generateOne(i);
});
after(() => visit.end());

async function generateOne(i: number): Promise<void> {
  const request = {
    model: "models/emoji-32",
    classLabel: i % 8,
    seed: BigInt(i),
    requestId: `one-${i}`,
    sampler: { sampler: Sampler.DDIM, steps: 1 },
  };
  for await (const { event } of visit.denoised.client(ImageGeneration).generate(request)) {
    if (event.case === "finished") return;
  }
}

test("200 generations are listed, newest first, and the last can be reached and watched", async () => {
  const page = await visit.open();
  const tiles = page.locator(".recent");
  await tiles.first().waitFor();
  assert.match((await tiles.first().getAttribute("title")) ?? "", /seed 199,/);
  // The strip asks for more where it ends.
  await tiles.first().focus();
  for (let count = 0; count < many; count = await tiles.count()) {
    await page.keyboard.press("End");
    await page.waitForFunction(
      (known) => document.querySelectorAll(".recent").length > known,
      count,
    );
  }
  assert.equal(await tiles.count(), many);
  await page.keyboard.press("End");
  const last = tiles.last();
  await last.locator("img").waitFor(); // its thumbnail comes when it is in sight
  await page.keyboard.press("Enter");
  await reach(page, "succeeded");
  assert.equal(await stage(page).getAttribute("data-run"), "generations/one-0");
  assert.equal(await control(page, "seed").inputValue(), "0");
  // What was not started here can be made again from its settings.
  const image = await finishedImage(page);
  await page.getByRole("button", { name: "Generate", exact: true }).click();
  await page.locator('.stage[data-run^="generations/page-"]').waitFor();
  await reach(page, "succeeded");
  assert.equal(await finishedImage(page), image);
});

test("only what is in sight gets a thumbnail", async () => {
  const page = await visit.open();
  await page.locator(".recent img").first().waitFor();
  const shown = await page.locator(".recent img").count();
  assert.ok(shown < 60, `${shown} thumbnails`);
});
