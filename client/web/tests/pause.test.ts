// Generations that are paused and resumed, here and by others, and that outlive their server.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Code } from "@connectrpc/connect";
import type { Page } from "playwright-core";
import { Generation_State, Generations } from "../src/gen/denoised/v1/generations_pb.ts";
import { finishedImage, generate, reach, reachStep, stage, Visit } from "./support/browser.ts";
import { program } from "./support/denoised.ts";

const slow =
  "#create?model=models/emoji-32&class_label=2&seed=7&sampler.sampler=ddim&sampler.steps=400";

const folder = mkdtempSync(join(tmpdir(), "denoised-key-"));
let visit: Visit;
let undisturbed: string;
before(async () => {
  const key = join(folder, "key");
  writeFileSync(key, spawnSync(program, ["new-handover-key"]).stdout);
  visit = await Visit.begin({ args: ["--handover-key", key] });
  const page = await visit.open(slow);
  await generate(page);
  await reach(page, "succeeded");
  undisturbed = await finishedImage(page);
});
after(async () => {
  await visit.end();
  rmSync(folder, { recursive: true });
});

const press = (page: Page, name: string) => page.getByRole("button", { name, exact: true }).click();

async function pauseHalfWay(): Promise<Page> {
  const page = await visit.open(slow);
  await generate(page);
  await reachStep(page, 10);
  await press(page, "Pause");
  await reach(page, "paused");
  return page;
}

async function described(page: Page) {
  const name = (await stage(page).getAttribute("data-run")) ?? "";
  return visit.denoised.client(Generations).getGeneration({ name });
}

async function resumeAndCheck(page: Page): Promise<void> {
  await press(page, "Resume");
  await reach(page, "succeeded");
  assert.equal(await finishedImage(page), undisturbed);
  const { accepted } = await described(page);
  assert.ok((accepted?.evaluationsDone ?? 0) >= 10, "it has begun again");
  assert.equal(await page.getByText("The server has restarted").count(), 0);
}

test("a generation is paused and resumed", async () => {
  const page = await pauseHalfWay();
  assert.equal((await described(page)).state, Generation_State.PAUSED);
  assert.equal(await page.getByRole("button", { name: "Cancel", exact: true }).count(), 0);
  await resumeAndCheck(page);
});

test("a paused one can be given up", async () => {
  const page = await pauseHalfWay();
  await press(page, "Give up");
  await press(page, "Keep it");
  await reach(page, "paused");
  await press(page, "Give up");
  await page
    .getByRole("group", { name: "Give up this generation?" })
    .getByText("Give up", { exact: true })
    .click();
  await reach(page, "cancelled");
  assert.equal(await page.getByRole("button", { name: "Resume", exact: true }).count(), 0);
  await assert.rejects(described(page), { code: Code.NotFound });
});

test("a reload finds it paused, and resumes it", async () => {
  const page = await pauseHalfWay();
  await page.reload();
  await reach(page, "paused");
  await resumeAndCheck(page);
});

test("what is paused outlives the server", async () => {
  const page = await pauseHalfWay();
  await visit.denoised.killServer();
  await visit.denoised.startServer();
  await resumeAndCheck(page);
});

test("what somebody else has paused is shown so", async () => {
  const page = await visit.open(slow);
  await generate(page);
  await reachStep(page, 10);
  const name = (await stage(page).getAttribute("data-run")) ?? "";
  await visit.denoised.client(Generations).pauseGeneration({ name });
  await reach(page, "paused");
  await resumeAndCheck(page);
});

test("what runs continues when the server restarts as it should", async () => {
  const page = await visit.open(slow);
  await generate(page);
  await reachStep(page, 10);
  await visit.denoised.endServer();
  await visit.denoised.startServer();
  await reach(page, "succeeded");
  assert.equal(await finishedImage(page), undisturbed);
  const { accepted } = await described(page);
  assert.ok((accepted?.evaluationsDone ?? 0) >= 10, "it has begun again");
});

test("a server without a key says why it pauses nothing, and the generation continues", async () => {
  const keyless = await Visit.begin();
  const page = await keyless.open(slow);
  await generate(page);
  await reachStep(page, 10);
  await press(page, "Pause");
  await page.getByText("--handover-key").waitFor();
  await reach(page, "succeeded");
  assert.equal(await page.getByText("--handover-key").count(), 0);
  await keyless.end();
});
