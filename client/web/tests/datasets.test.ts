// Data sets on the page: by drop and by picker, with their reports, refusals and interruptions.
import assert from "node:assert/strict";
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Page } from "playwright-core";
import { Datasets } from "../src/gen/denoised/v1/datasets_pb.ts";
import { Visit } from "./support/browser.ts";
import {
  archive,
  largeFolder,
  pictureFolder,
  stateFolder,
  upload,
  uploadCard,
  uploaded,
} from "./support/training.ts";

const state = stateFolder();
const pictures = pictureFolder();

let visit: Visit;
before(async () => (visit = await Visit.begin({ args: ["--state", state] })));
after(async () => {
  await visit.end();
  rmSync(state, { recursive: true });
});

const report = async (name: string) =>
  (await visit.denoised.client(Datasets).getDataset({ name: `datasets/${name}` })).report;

test("a folder is picked, and the report names what was left out", async () => {
  const page = await visit.open("#train");
  await page.getByText("None yet. Drop a folder").waitFor();
  await upload(page, pictures, "picked");
  const card = uploadCard(page, "picked");
  await card.getByText("6 pictures in 2 classes: round, square").waitFor();
  await card.getByText("round/broken.png").waitFor();
  await card.getByText("readme.txt").waitFor();
  await page.locator('[data-dataset="datasets/picked"]').getByText("1 file left out").waitFor();
  const { classes = [] } = (await report("picked")) ?? {};
  assert.deepEqual(
    classes.map(({ displayName, pictures: count }) => [displayName, count]),
    [
      ["round", 3n],
      ["square", 3n],
    ],
  );
});

// Files and folders come down on the place for them, as from a file manager.
async function drop(page: Page, files: string[]): Promise<void> {
  const box = await page.locator(".upload-drop").boundingBox();
  assert.ok(box);
  const browser = await page.context().newCDPSession(page);
  for (const type of ["dragEnter", "dragOver", "drop"] as const) {
    await browser.send("Input.dispatchDragEvent", {
      type,
      x: box.x + box.width / 2,
      y: box.y + 8,
      data: { items: [], files, dragOperationsMask: 1 },
    });
  }
}

test("a folder is dropped, and its folders are the classes", async () => {
  const page = await visit.open("#train");
  await drop(page, [pictures]);
  await page.locator('[name="header.name"]').fill("dropped");
  await page.getByRole("button", { name: "Upload", exact: true }).click();
  await uploaded(page, "dropped");
  await uploadCard(page, "dropped").getByText("6 pictures in 2 classes").waitFor();
});

test("single pictures are dropped, and become a data set without classes", async () => {
  const page = await visit.open("#train");
  const folder = join(pictures, "square");
  await drop(
    page,
    readdirSync(folder).map((file) => join(folder, file)),
  );
  await page.locator('[name="header.name"]').fill("single");
  await page.getByRole("button", { name: "Upload", exact: true }).click();
  await uploaded(page, "single");
  await uploadCard(page, "single").getByText("3 pictures without classes").waitFor();
});

test("an archive is dropped and sent as it is", async () => {
  const page = await visit.open("#train");
  await drop(page, [archive]);
  assert.equal(await page.locator('[name="header.name"]').inputValue(), "pets");
  await page.getByRole("button", { name: "Upload", exact: true }).click();
  await uploaded(page, "pets");
  await page.getByRole("link", { name: "Report" }).click();
  await page.getByRole("img", { name: "Pictures of pets" }).waitFor();
  await page.getByRole("row", { name: "birds" }).waitFor();
  assert.match(page.url(), /#train\/datasets\/pets$/);
});

test("files that hold no picture are refused before anything is sent", async () => {
  const page = await visit.open("#train");
  await page.getByLabel("Choose files").setInputFiles([
    { name: "a.txt", mimeType: "text/plain", buffer: Buffer.from("a") },
    { name: "b.txt", mimeType: "text/plain", buffer: Buffer.from("b") },
  ]);
  await page.getByText("None of the 2 files is a picture").waitFor();
});

test("a name that is taken or wrong is corrected without choosing the files again", async () => {
  const page = await visit.open("#train");
  for (const name of ["taken", "taken"]) {
    await page.getByLabel("Choose files").setInputFiles(archive);
    await page.locator('[name="header.name"]').fill(name);
    await page.getByRole("button", { name: "Upload", exact: true }).click();
    await page.locator('.upload:is([data-state="done"], [data-state="failed"])').first().waitFor();
    if ((await page.locator('.upload[data-state="done"]').count()) > 0)
      await page.getByRole("button", { name: "Close" }).first().click();
  }
  await page.getByRole("button", { name: "Change its name" }).click();
  const field = page.locator('[data-field="header.name"]');
  await field.getByText("already a data set").waitFor();
  await field.locator("input").fill("_wrong");
  await page.getByRole("button", { name: "Upload", exact: true }).click();
  await page.getByRole("button", { name: "Change its name" }).click();
  await field.getByText("letters, digits").waitFor();
  await field.locator("input").fill("free");
  await page.getByRole("button", { name: "Upload", exact: true }).click();
  await uploaded(page, "free");
});

test("an upload that the server interrupts continues after its restart", async () => {
  const page = await visit.open("#train");
  await page.getByLabel("Choose files").setInputFiles(archive);
  await page.locator('[name="header.name"]').fill("interrupted");
  await visit.denoised.killServer();
  await page.getByRole("button", { name: "Upload", exact: true }).click();
  await uploadCard(page, "interrupted").getByText("Connection lost").waitFor();
  await visit.denoised.startServer();
  await uploaded(page, "interrupted");
});

const mebibyte = 2 ** 20;

/** Lets the page send at most so many bytes a second. */
async function throttle(page: Page, uploadThroughput: number): Promise<void> {
  const browser = await page.context().newCDPSession(page);
  const conditions = { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput };
  await browser.send("Network.emulateNetworkConditions", conditions);
}

async function beginSlowly(page: Page, folder: string, name: string): Promise<void> {
  await page.getByLabel("Choose a folder").setInputFiles(folder);
  await page.locator('[name="header.name"]').fill(name);
  await throttle(page, mebibyte);
  await page.getByRole("button", { name: "Upload", exact: true }).click();
  await page.locator(`[data-upload="datasets/${name}"][data-state="sending"]`).waitFor();
  await page.waitForFunction(
    (bytes) =>
      Number(document.querySelector<HTMLProgressElement>(".upload progress")?.value) > bytes,
    2 * mebibyte,
  );
}

test("Cancel spares a data set of the same name that was there before", async () => {
  const page = await visit.open("#train");
  await upload(page, archive, "spared");
  await page.getByLabel("Choose files").setInputFiles(archive);
  await page.locator('[name="header.name"]').fill("spared");
  // The second upload waits for its worker, and is cancelled before the server knows of it.
  await page.route(/hash-worker/, () => undefined);
  await page.getByRole("button", { name: "Upload", exact: true }).click();
  await uploadCard(page, "spared").getByRole("button", { name: "Cancel" }).click();
  await uploadCard(page, "spared").getByText("Cancelled").waitFor();
  assert.equal((await report("spared"))?.pictures, 2n);
});

test("an upload tells how far it is, and Cancel leaves nothing of it", async () => {
  const page = await visit.open("#train");
  await beginSlowly(page, largeFolder(), "cancelled");
  await uploadCard(page, "cancelled")
    .getByText(/Uploading: .* of 33\.6 MB/)
    .waitFor();
  await uploadCard(page, "cancelled").getByRole("button", { name: "Cancel" }).click();
  await uploadCard(page, "cancelled").getByText("nothing of it is kept").waitFor();
  const { datasets } = await visit.denoised.client(Datasets).listDatasets({});
  assert.ok(!datasets.some(({ name }) => name === "datasets/cancelled"));
});

test("after the page was closed, what has arrived is not sent again", async () => {
  const folder = largeFolder();
  const first = await visit.open("#train");
  await beginSlowly(first, folder, "continued");
  await first
    .locator('[data-dataset="datasets/continued"] .row-facts')
    .getByText(/^[1-9]/)
    .waitFor();
  await first.close();
  const page = await visit.open("#train");
  const sent: Promise<{ requestBodySize: number }>[] = [];
  page.on("requestfinished", (request) => {
    if (request.url().endsWith("/UploadDataset")) sent.push(request.sizes());
  });
  await upload(page, folder, "continued");
  const sizes = (await Promise.all(sent)).map(({ requestBodySize }) => requestBodySize);
  assert.ok(Math.max(...sizes) < 32 * mebibyte, `${sizes.join(", ")} bytes were sent`);
});

test("a data set is deleted after a question", async () => {
  const page = await visit.open("#train");
  await upload(page, archive, "unwanted");
  await page.locator('[data-dataset="datasets/unwanted"]').click();
  await page.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("button", { name: "Keep it" }).click();
  await page.getByRole("button", { name: "Delete" }).click();
  await page
    .getByRole("group", { name: /Delete unwanted/ })
    .getByRole("button", { name: "Delete" })
    .click();
  await page.waitForURL((url) => url.hash === "#train");
  await page.locator('[data-dataset="datasets/unwanted"]').waitFor({ state: "detached" });
  const { datasets } = await visit.denoised.client(Datasets).listDatasets({});
  assert.ok(!datasets.some(({ name }) => name === "datasets/unwanted"));
});
