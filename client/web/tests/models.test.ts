import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { control, Visit } from "./support/browser.ts";
import { classModel, textModel } from "./support/denoised.ts";

function tornModel(): string {
  const folder = join(mkdtempSync(join(tmpdir(), "denoised-torn-")), "torn");
  mkdirSync(folder);
  writeFileSync(
    join(folder, "model_index.json"),
    JSON.stringify({ _class_name: "DDPMPipeline", unet: ["diffusers", "UNet2DModel"] }),
  );
  return folder;
}

describe("a server whose callers may manage models", () => {
  let visit: Visit;
  before(async () => {
    const models = [classModel, textModel, tornModel()];
    visit = await Visit.begin({ models, args: ["--manage-models"] });
  });
  after(() => visit.end());

  test("each model says what it can do, and a broken one why it is broken", async () => {
    const page = await visit.open();
    await page.getByRole("button", { name: "Models" }).click();
    const emoji = page.locator('[data-model="models/emoji-32"]');
    await emoji.getByText("8 classes").waitFor();
    await emoji.getByText("smileys").waitFor();
    const text = page.locator('[data-model="models/sd15-like"]');
    await text.getByText("a prompt").waitFor();
    await text.getByText("pytorch_lora_weights").waitFor();
    const torn = page.locator('[data-model="models/torn"]');
    assert.equal(await torn.getAttribute("data-state"), "broken");
    assert.match((await torn.getByRole("alert").textContent()) ?? "", /config\.json/);
    assert.equal(await torn.getByRole("button").count(), 0);
  });

  test("a model is unloaded and loaded, and can be created with", async () => {
    const page = await visit.open();
    await page.getByRole("button", { name: "Models" }).click();
    const card = page.locator('[data-model="models/sd15-like"]');
    await card.getByRole("button", { name: "Unload" }).click();
    await page.locator('[data-model="models/sd15-like"][data-state="on disk"]').waitFor();
    await card.getByRole("button", { name: "Load", exact: true }).click();
    await page.locator('[data-model="models/sd15-like"][data-state="in memory"]').waitFor();
    await card.getByRole("button", { name: "Create with it" }).click();
    assert.equal(await control(page, "model").inputValue(), "models/sd15-like");
  });
});

describe("a server that manages its models itself", () => {
  let visit: Visit;
  before(async () => (visit = await Visit.begin()));
  after(() => visit.end());

  test("says that callers may not, and how to allow it", async () => {
    const page = await visit.open();
    await page.getByRole("button", { name: "Models" }).click();
    await page.getByRole("button", { name: "Unload" }).click();
    await page.getByText("denoised --manage-models").waitFor();
    assert.equal(await page.getByRole("button", { name: "Unload" }).isDisabled(), true);
  });
});
