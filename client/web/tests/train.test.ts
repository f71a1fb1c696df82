// Training on the page: a job is started, watched, interrupted in every way, published and used.
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { Training } from "../src/gen/denoised/v1/training_pb.ts";
import { control, generate, reach, Visit } from "./support/browser.ts";
import {
  archive,
  reachJob,
  reachPoints,
  smallJob,
  startJob,
  stateFolder,
  upload,
} from "./support/training.ts";

test("a server without state says how to get it", async () => {
  const visit = await Visit.begin();
  const page = await visit.open("#train");
  await page.getByText("This server does not train").waitFor();
  await page.getByText("--state state").waitFor();
  await visit.end();
});

describe("a server that trains", () => {
  const state = stateFolder();
  let visit: Visit;
  before(async () => {
    visit = await Visit.begin({ args: ["--state", state] });
    const page = await visit.open("#train");
    await upload(page, archive, "pets");
  });
  after(async () => {
    await visit.end();
    rmSync(state, { recursive: true });
  });

  const jobs = async () => (await visit.denoised.client(Training).listTrainingJobs({})).jobs;

  test("what is wrong with the settings is said beside their fields", async () => {
    const page = await visit.open("#train");
    await page
      .getByRole("button", { name: "Train on it" })
      .or(page.getByRole("button", { name: "New job" }))
      .first()
      .click();
    await control(page, "training.batch_size").fill("0");
    await page.getByRole("button", { name: "Start training" }).click();
    const violation = page.locator('[data-field="training.batch_size"] .violation');
    assert.match((await violation.textContent()) ?? "", /65536/);
    await page.locator('[name="training.batch_size"]:focus').waitFor();
    await control(page, "training.batch_size").fill("2");
    await violation.waitFor({ state: "detached" });
    assert.match(page.url(), /training\.batch_size=2/);
  });

  test("the loss and samples arrive, and a reload continues to watch", async () => {
    const settings = {
      "labels.name": "learner",
      "training.max_steps": "60",
      "training.samples.every_n_steps": "10",
      "training.checkpoints.every_n_steps": "20",
      "training.checkpoints.keep": "3",
    };
    const page = await visit.open(smallJob("pets", settings));
    await startJob(page);
    assert.match(page.url(), /#train\/\d+$/);
    const early = await reachPoints(page, 0);
    await page.locator('.samples[data-step="10"], .samples[data-step="20"]').first().waitFor();
    await page.reload();
    await reachPoints(page, early);
    await reachJob(page, "succeeded");
    await page.getByRole("heading", { name: "learner" }).waitFor();
    await page.locator('.samples[data-grids="6"][data-step="60"]').waitFor();
    await page.getByLabel("Samples of step", { exact: true }).press("Home");
    await page.getByRole("img", { name: "Samples of step 10" }).waitFor();
    await page.locator('.curves[data-points="60"]').waitFor();
  });

  test("two checkpoints are compared, and a link to the comparison shows it again", async () => {
    const page = await visit.open("#train");
    await page.locator(".row-link", { hasText: "learner" }).click();
    await page.getByRole("button", { name: "Compare two steps" }).click();
    await page.getByLabel("Left step", { exact: true }).selectOption("20");
    await page.getByRole("img", { name: "Left step: samples of step 20" }).waitFor();
    await page.getByRole("img", { name: "Right step: samples of step 60" }).waitFor();
    await page.reload();
    await page.getByRole("img", { name: "Left step: samples of step 20" }).waitFor();
  });

  test("a checkpoint is published, and images are made with it", async () => {
    const page = await visit.open("#train");
    await page.locator(".row-link", { hasText: "learner" }).click();
    await page.getByRole("button", { name: "Publish…" }).first().click();
    const publish = page.getByRole("button", { name: "Publish", exact: true });
    assert.equal(await control(page, "model").inputValue(), "learner");
    await control(page, "model").fill("no/name");
    await publish.click();
    await page.locator('[data-field="model"] .violation').waitFor();
    await control(page, "model").fill("learner");
    await publish.click();
    await page.getByText("Step 60 is served as learner", { exact: true }).waitFor();
    await page.getByRole("button", { name: "Create with it" }).click();
    assert.equal(await control(page, "model").inputValue(), "models/learner");
    await page.getByRole("radio", { name: "cats" }).check();
    await control(page, "sampler.steps").fill("2");
    await generate(page);
    await reach(page, "succeeded");
  });

  test("a job is paused, resumed, cancelled and deleted", async () => {
    const page = await visit.open(smallJob("pets", { "training.max_steps": "100000" }));
    await startJob(page);
    await reachPoints(page, 2);
    await page.getByRole("button", { name: "Pause", exact: true }).click();
    await reachJob(page, "paused");
    await page.locator(".checkpoint").waitFor();
    await page.getByRole("button", { name: "Resume" }).click();
    await reachJob(page, "running");
    await reachPoints(page, 5);
    await page.getByRole("button", { name: "Cancel" }).click();
    await page
      .getByRole("group", { name: /End this job/ })
      .getByRole("button", { name: "Cancel" })
      .click();
    await reachJob(page, "cancelled");
    const before = await jobs();
    await page.getByRole("button", { name: "Delete" }).click();
    await page
      .getByRole("group", { name: /Delete this job/ })
      .getByRole("button", { name: "Delete" })
      .click();
    await page.waitForURL((url) => url.hash === "#train");
    assert.equal((await jobs()).length, before.length - 1);
  });

  test("a restart of the server is said, and the page watches the job on", async () => {
    const settings = { "training.max_steps": "100000", "training.checkpoints.every_n_steps": "5" };
    const page = await visit.open(smallJob("pets", settings));
    await startJob(page);
    await page.locator(".checkpoint").first().waitFor();
    const before = await reachPoints(page, 5);
    await visit.denoised.killServer();
    await page.getByText("Connection lost").waitFor();
    await visit.denoised.startServer();
    await page.getByText("Connection lost").waitFor({ state: "detached" });
    await reachPoints(page, before);
    await reachJob(page, "running");
    const [job] = await jobs();
    await visit.denoised.client(Training).cancelTrainingJob({ name: job?.name ?? "" });
    await reachJob(page, "cancelled");
  });

  test("a job that is not there says so", async () => {
    const page = await visit.open("#train/4711");
    await page.getByText("Not found").waitFor();
  });
});
