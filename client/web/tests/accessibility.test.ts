import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { assertNoFault, control, generate, reach, Visit } from "./support/browser.ts";
import { classModel, textModel } from "./support/denoised.ts";

const emoji = "#create?model=models/emoji-32&class_label=1&sampler.steps=4&count=2&sampler.eta=9";

let visit: Visit;
before(async () => (visit = await Visit.begin({ models: [classModel, textModel] })));
after(() => visit.end());

for (const colorScheme of ["light", "dark"] as const) {
  for (const [width, height] of [
    [1440, 900],
    [390, 844],
  ] as const) {
    test(`no serious fault in ${colorScheme} at ${width} x ${height}`, async () => {
      const page = await visit.open(emoji, { width, height, colorScheme });
      await page.locator('[data-field="sampler.eta"] .violation').waitFor();
      await assertNoFault(page, "an invalid field");
      await page.getByRole("button", { name: "Remove sampler.eta" }).click();
      await generate(page);
      await reach(page, "succeeded");
      await page.locator(".recent img").first().waitFor();
      await assertNoFault(page, "a finished generation");
      await page.goto(`${visit.denoised.url}/#create?model=models/sd15-like`);
      await control(page, "prompt").waitFor();
      await assertNoFault(page, "a text-to-image model");
      await page.getByRole("button", { name: "Models" }).click();
      await page.locator(".card").first().waitFor();
      await assertNoFault(page, "the models");
    });
  }
}

test("the keyboard alone makes an image", async () => {
  const page = await visit.open("#create?model=models/emoji-32&sampler.steps=3");
  const first = page.getByRole("radio", { name: "smileys" });
  await first.focus();
  await page.keyboard.press("ArrowRight");
  assert.equal(await page.getByRole("radio", { name: "people" }).isChecked(), true);
  await page.keyboard.press("Control+Enter");
  await reach(page, "succeeded");
  await page.getByLabel("Step", { exact: true }).focus();
  await page.keyboard.press("Home");
  await page.getByRole("img", { name: "The noisy image 1 after step 1" }).waitFor();
});

test("the theme that is chosen stays", async () => {
  const page = await visit.open("", { colorScheme: "dark" });
  const theme = () => page.evaluate(() => document.documentElement.dataset["theme"]);
  assert.equal(await theme(), "dark");
  await page.getByRole("button", { name: "Light theme" }).click();
  assert.equal(await theme(), "light");
  await page.reload();
  assert.equal(await theme(), "light");
});
