import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { after, before, test } from "node:test";
import { assertNoFault, control, generate, reach, Visit } from "./support/browser.ts";
import { classModel, textModel } from "./support/denoised.ts";
import { archive, reachJob, smallJob, startJob, stateFolder, upload } from "./support/training.ts";

const emoji = "#create?model=models/emoji-32&class_label=1&sampler.steps=4&count=2&sampler.eta=9";

const state = stateFolder();

let visit: Visit;
before(async () => {
  visit = await Visit.begin({ models: [classModel, textModel], args: ["--state", state] });
});
after(async () => {
  await visit.end();
  rmSync(state, { recursive: true });
});

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

    test(`no serious fault in training in ${colorScheme} at ${width} x ${height}`, async () => {
      const page = await visit.open("#train", { width, height, colorScheme });
      const name = `pets-${colorScheme}-${width}`;
      await upload(page, archive, name);
      await assertNoFault(page, "an upload");
      await page.getByRole("link", { name: "Report" }).click();
      await page.getByRole("img", { name: `Pictures of ${name}` }).waitFor();
      await page.getByRole("button", { name: "Delete" }).click();
      await assertNoFault(page, "a data set");
      const settings = {
        "training.max_steps": "4",
        "training.samples.every_n_steps": "2",
        "training.learnt": "x",
      };
      await page.goto(`${visit.denoised.url}/${smallJob(name, settings)}`);
      await page.getByText("training.learnt").first().waitFor();
      await assertNoFault(page, "a new job");
      await page.getByRole("button", { name: "Remove training.learnt" }).click();
      await startJob(page);
      await reachJob(page, "succeeded");
      await page.getByRole("button", { name: "Compare two steps" }).click();
      await page.getByRole("button", { name: "Publish…" }).click();
      await page.getByRole("img", { name: "Right step: samples of step 4" }).waitFor();
      await assertNoFault(page, "a job");
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
