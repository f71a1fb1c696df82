// Coming back: after a reload, in another tab, and after a restart of the server.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  control,
  finishedImage,
  generate,
  reach,
  reachStep,
  stage,
  Visit,
} from "./support/browser.ts";

const slow = "#create?model=models/emoji-32&class_label=2&seed=7&sampler.sampler=ddim";

let visit: Visit;
before(async () => (visit = await Visit.begin()));
after(() => visit.end());

test("a reload half-way joins the generation and gets the frames of before", async () => {
  const page = await visit.open(`${slow}&sampler.steps=1000`);
  await generate(page);
  const before = await reachStep(page, 10);
  const name = await stage(page).getAttribute("data-run");
  await page.reload();
  await reachStep(page, before + 1);
  assert.notEqual(await stage(page).getAttribute("data-state"), "succeeded");
  await page.getByRole("button", { name: "Cancel", exact: true }).click();
  await reach(page, "cancelled");
  assert.equal(await stage(page).getAttribute("data-run"), name);
  // Of so many steps, every eighth has a frame.
  const frames = await page.getByLabel("Step", { exact: true }).getAttribute("max");
  assert.equal(await stage(page).getAttribute("data-step"), String(8 * Number(frames)));
});

test("two tabs watch one generation and see the same image", async () => {
  const page = await visit.open(`${slow}&sampler.steps=400`);
  await generate(page);
  await reachStep(page, 5);
  const other = await visit.open();
  await other.locator('.recent[data-state="running"]').click();
  assert.equal(
    await stage(other).getAttribute("data-run"),
    await stage(page).getAttribute("data-run"),
  );
  assert.ok((await reachStep(other, 1)) < 400);
  await Promise.all([reach(page, "succeeded"), reach(other, "succeeded")]);
  assert.equal(await finishedImage(other), await finishedImage(page));
});

test("Back leads to the generation of before", async () => {
  const page = await visit.open(`${slow}&sampler.steps=2`);
  await generate(page);
  await reach(page, "succeeded");
  const first = await finishedImage(page);
  const name = (await stage(page).getAttribute("data-run")) ?? "";
  await control(page, "sampler.steps").fill("3");
  await generate(page);
  await page.locator(`.stage[data-state="succeeded"]:not([data-run="${name}"])`).waitFor();
  await page.goBack();
  await page.goBack();
  await page.locator(`.stage[data-state="succeeded"][data-run="${name}"]`).waitFor();
  assert.equal(await control(page, "sampler.steps").inputValue(), "2");
  assert.equal(await finishedImage(page), first);
});

test("a restart of the server is said, and the same image is made", async () => {
  const page = await visit.open(`${slow}&sampler.steps=400`);
  await generate(page);
  await reach(page, "succeeded");
  const image = await finishedImage(page);
  await generate(page);
  await reachStep(page, 5);
  await visit.denoised.killServer();
  await page.getByText("Connection lost").waitFor();
  await page.getByText("Server not reached").waitFor();
  await visit.denoised.startServer();
  await page.getByText("The server has restarted").waitFor();
  await reach(page, "succeeded");
  assert.equal(await finishedImage(page), image);
  await page.locator('.connection[data-online="true"]').waitFor();
});

test("a link to a generation that is gone offers to make it again", async () => {
  const page = await visit.open(`${slow}&sampler.steps=2&generation=page-forgotten`);
  await reach(page, "gone");
  await page.getByRole("button", { name: "Generate again" }).click();
  await reach(page, "succeeded");
});
