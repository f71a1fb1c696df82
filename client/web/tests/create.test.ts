import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Page } from "playwright-core";
import { Generation_State, Generations } from "../src/gen/denoised/v1/generations_pb.ts";
import {
  control,
  finishedImage,
  generate,
  reach,
  reachStep,
  stage,
  Visit,
} from "./support/browser.ts";
import { classModel, textModel } from "./support/denoised.ts";

const emoji = "#create?model=models/emoji-32&class_label=1&guidance.scale=3&sampler.sampler=dpmpp";

let visit: Visit;
before(async () => (visit = await Visit.begin({ models: [classModel, textModel] })));
after(() => visit.end());

const nameOf = async (page: Page) => (await stage(page).getAttribute("data-run")) ?? "";

test("frames arrive while an image appears, and each can be looked at afterwards", async () => {
  const page = await visit.open(`${emoji}&sampler.steps=40&count=2`);
  await generate(page);
  const early = await reachStep(page, 1);
  const later = await reachStep(page, early + 1);
  assert.ok(later > early);
  await reach(page, "succeeded");
  const finished = await finishedImage(page);
  await page.getByLabel("Step", { exact: true }).press("Home");
  assert.equal(await stage(page).getAttribute("data-step"), "1");
  await page.getByRole("img", { name: "The noisy image 1 after step 1" }).waitFor();
  await page.getByLabel("Step", { exact: true }).press("End");
  assert.equal(await finishedImage(page), finished);
  assert.equal(await page.locator(".tile").count(), 2);
});

test("everything follows a window that gets narrower", async () => {
  const page = await visit.open(`${emoji}&sampler.steps=8`);
  await generate(page);
  await reach(page, "succeeded");
  for (const [width, height] of [
    [1280, 800],
    [820, 1100],
    [390, 844],
  ] as const) {
    await page.setViewportSize({ width, height });
    await page.waitForFunction(() =>
      [...document.querySelectorAll(".stage, .stage *")].every(
        (element) => element.getBoundingClientRect().right <= innerWidth,
      ),
    );
  }
});

test("a seed of 64 bits keeps every digit", async () => {
  const page = await visit.open(`${emoji}&sampler.steps=2&seed=18446744073709551615`);
  await generate(page);
  await reach(page, "succeeded");
  await page
    .getByRole("img", { name: "The finished image 1, seed 18446744073709551615" })
    .waitFor();
});

test("a link makes the same image in another browser", async () => {
  const page = await visit.open(`${emoji}&sampler.steps=8`);
  await page.getByRole("radio", { name: "animals" }).check();
  await generate(page);
  await reach(page, "succeeded");
  const image = await finishedImage(page);
  const link = new URL(page.url()).hash.replace(/&generation=.*/, "");
  assert.match(link, /seed=\d+/);

  const other = await visit.open(link);
  await generate(other);
  await reach(other, "succeeded");
  assert.notEqual(await nameOf(other), await nameOf(page));
  assert.equal(await finishedImage(other), image);

  await other.getByRole("button", { name: "Another seed", exact: true }).last().click();
  await other.waitForURL((url) => !url.hash.includes(link.replace(/.*(seed=\d+).*/, "$1")));
  await reach(other, "succeeded");
  assert.notEqual(await finishedImage(other), image);
});

test("Cancel ends the generation on the server", async () => {
  const page = await visit.open(`${emoji}&sampler.steps=1000`);
  await generate(page);
  await reachStep(page, 1);
  await page.getByRole("button", { name: "Cancel" }).click();
  await reach(page, "cancelled");
  const name = await nameOf(page);
  const { state } = await visit.denoised.client(Generations).getGeneration({ name });
  assert.equal(state, Generation_State.CANCELLED);
});

test("what is wrong is said beside the field, and goes when it is corrected", async () => {
  const page = await visit.open(`${emoji}&sampler.steps=4`);
  // The server's plan tells while one types.
  await control(page, "sampler.steps").fill("0");
  await page.locator('[data-field="sampler.steps"] .violation').waitFor();
  await control(page, "sampler.steps").fill("4");
  await page.locator('[data-field="sampler.steps"] .violation').waitFor({ state: "detached" });
  // The page tells what is no number at all.
  await control(page, "seed").fill("many");
  await page.locator('[data-field="seed"] .violation').waitFor();
  await generate(page);
  await page.locator('[name="seed"]:focus').waitFor();
  await control(page, "seed").fill("5");
  // The server tells when the request is sent.
  await control(page, "count").fill("100000");
  await generate(page);
  const violation = page.locator('[data-field="count"] .violation');
  await violation.waitFor();
  assert.match((await violation.textContent()) ?? "", /64/);
  await page.waitForFunction(() => !location.hash.includes("generation="));
  assert.equal(await control(page, "count").getAttribute("aria-invalid"), "true");
  await control(page, "count").fill("1");
  await violation.waitFor({ state: "detached" });
  await generate(page);
  await reach(page, "succeeded");
});

test("a field without a place in the form is refused by its name", async () => {
  const page = await visit.open(`${emoji}&sampler.steps=4&prompt=words`);
  await generate(page);
  await page.getByRole("alert").getByText("prompt", { exact: true }).waitFor();
});

test("every other field of the contract can be added and taken away", async () => {
  const page = await visit.open(`${emoji}&sampler.steps=4`);
  await page.getByText("More options").click();
  await page.getByLabel("Add an option").selectOption("sampler.solver_order");
  await control(page, "sampler.solver_order").fill("9");
  await page.locator('[data-field="sampler.solver_order"] .violation').waitFor();
  await control(page, "sampler.solver_order").fill("3");
  await page
    .locator('[data-field="sampler.solver_order"] .violation')
    .waitFor({ state: "detached" });
  await generate(page);
  await reach(page, "succeeded");
  const { accepted } = await visit.denoised
    .client(Generations)
    .getGeneration({ name: await nameOf(page) });
  assert.equal(accepted?.sampler?.solverOrder, 3);
  await page.getByRole("button", { name: "Remove sampler.solver_order" }).click();
  assert.ok(!page.url().includes("solver_order"));
});

test("a prompt, a size and an adapter reach a text-to-image model", async () => {
  const page = await visit.open("#create?model=models/sd15-like");
  await control(page, "prompt").fill("a lighthouse");
  await control(page, "negative_prompt").fill("fog");
  await control(page, "width").fill("48");
  await control(page, "sampler.steps").fill("4");
  await page.getByLabel("pytorch_lora_weights").check();
  await page.getByLabel("Scale of pytorch_lora_weights, as a number").fill("0.5");
  await generate(page);
  await reach(page, "succeeded");
  const { accepted } = await visit.denoised
    .client(Generations)
    .getGeneration({ name: await nameOf(page) });
  assert.equal(accepted?.width, 48);
  assert.ok((accepted.prompt?.tokens ?? 0) > (accepted.negativePrompt?.tokens ?? Infinity));
  assert.deepEqual(
    accepted.adapters.map(({ name, scale }) => [name, scale]),
    [["models/sd15-like/adapters/pytorch_lora_weights", 0.5]],
  );
});
