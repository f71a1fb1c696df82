import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import type { Page } from "playwright-core";
import { Generation_State, Generations } from "../src/gen/denoised/v1/generations_pb.ts";
import { ImageGeneration, OnDisconnect } from "../src/gen/denoised/v1/image_generation_pb.ts";
import { assertNoFault, control, type Look, stage, Visit } from "./support/browser.ts";
import { classModel, textModel } from "./support/denoised.ts";

const ofView = (page: Page, name: string) => page.getByRole("button", { name, exact: true });
const lanes = (page: Page, id: string) =>
  page.locator(`.lane[data-generation="generations/${id}"]`);

async function openLive(visit: Visit, look: Look = {}): Promise<Page> {
  const page = await visit.open("", look);
  await ofView(page, "Live").click();
  await page.locator(".device").waitFor();
  return page;
}

interface Settings {
  model?: string;
  classLabel?: number;
  prompt?: string;
  count?: number;
  guidance?: { scale: number };
}

/** Starts a generation that runs without a reader, for longer than any test. */
async function start(visit: Visit, requestId: string, settings: Settings = {}): Promise<void> {
  const request = {
    model: "models/emoji-32",
    classLabel: 1,
    requestId,
    onDisconnect: OnDisconnect.DETACH,
    sampler: { steps: 900 },
    ...settings,
  };
  for await (const { event } of visit.denoised.client(ImageGeneration).generate(request))
    if (event.case === "accepted") return;
}

const cancel = (visit: Visit, id: string) =>
  visit.denoised.client(Generations).cancelGeneration({ name: `generations/${id}` });

async function cancelAll(visit: Visit): Promise<void> {
  const service = visit.denoised.client(Generations);
  const { generations } = await service.listGenerations({});
  for (const { name, state } of generations)
    if (state < Generation_State.SUCCEEDED) await service.cancelGeneration({ name });
}

/** Waits until the first number that an element shows is `least` or more. Returns it. */
async function reachNumber(page: Page, selector: string, least: number): Promise<number> {
  const shown = await page.waitForFunction(
    (wanted) => {
      const text = document.querySelector(wanted.selector)?.textContent ?? "";
      const number = Number(/[\d,]+/.exec(text)?.[0].replaceAll(",", ""));
      return number >= wanted.least ? number : 0;
    },
    { selector, least },
  );
  return shown.jsonValue();
}

describe("a server with room", () => {
  let visit: Visit;
  before(async () => (visit = await Visit.begin({ models: [classModel, textModel] })));
  afterEach(() => cancelAll(visit));
  after(() => visit.end());

  test("rows of two requests are drawn in one batch, and one of them leaves it", async () => {
    const page = await openLive(visit);
    await start(visit, "shared-guided", { guidance: { scale: 3 } });
    await start(visit, "shared-plain");
    await page.waitForFunction(() => {
      const inTurn = document.querySelectorAll<HTMLElement>('.lane[data-in-turn="true"]');
      const ids = [...inTurn].map(({ dataset }) => dataset["generation"]);
      return ["generations/shared-guided", "generations/shared-plain"].every((id) =>
        ids.includes(id),
      );
    });
    const height = async (id: string) => (await lanes(page, id).boundingBox())?.height ?? 0;
    const [two, one] = [await height("shared-guided"), await height("shared-plain")];
    assert.ok(two >= 2 * one, `two rows are ${two} high, and one is ${one}`);
    await cancel(visit, "shared-guided");
    await lanes(page, "shared-guided").waitFor({ state: "detached" });
    assert.equal(await lanes(page, "shared-plain").count(), 1);
  });

  test("images of another model take turns, and keep their lanes meanwhile", async () => {
    const page = await openLive(visit);
    await start(visit, "turns-class");
    await start(visit, "turns-text", {
      model: "models/sd15-like",
      classLabel: undefined,
      prompt: "a lighthouse",
    });
    for (const [first, second] of [
      ["class", "text"],
      ["text", "class"],
    ]) {
      await page
        .locator(".lanes")
        .filter({
          has: lanes(page, `turns-${first ?? ""}`).and(page.locator("[data-in-turn=true]")),
        })
        .filter({
          has: lanes(page, `turns-${second ?? ""}`).and(page.locator("[data-in-turn=false]")),
        })
        .waitFor();
    }
  });

  test("the place in the plan advances, and the totals rise", async () => {
    const page = await openLive(visit);
    await start(visit, "rising");
    for (const selector of [".lane .place", ".throughput .hint"]) {
      const early = await reachNumber(page, selector, 1);
      const later = await reachNumber(page, selector, early + 1);
      assert.ok(later > early, `${selector}: ${early}, then ${later}`);
    }
  });

  test("a click on a generation watches it in Create, with its settings", async () => {
    const page = await openLive(visit);
    await start(visit, "clicked", { guidance: { scale: 3 } });
    // The page knows the settings once it has asked for recent generations.
    await lanes(page, "clicked").locator('a[href*="guidance.scale=3"]').click();
    await page.locator('.stage[data-run="generations/clicked"][data-state="running"]').waitFor();
    assert.equal(await control(page, "guidance.scale").inputValue(), "3");
    await page.goBack();
    await lanes(page, "clicked").waitFor();
  });

  test("an idle server offers to create an image", async () => {
    const page = await openLive(visit);
    await page.locator('.device[data-turn="idle"]').waitFor();
    await page.getByRole("button", { name: "Create an image" }).click();
    await stage(page).waitFor();
    await ofView(page, "Live").click();
    await start(visit, "not-idle");
    await lanes(page, "not-idle").waitFor();
    await page.getByText("Nothing to do").waitFor({ state: "detached" });
  });

  test("the stream is closed while nobody looks, and opened again", async () => {
    const page = await openLive(visit);
    const isStream = (request: { url(): string }) => request.url().includes("WatchActivity");
    const closed = page.waitForEvent("requestfailed", isStream);
    await ofView(page, "Models").click();
    await closed;
    const opened = page.waitForRequest(isStream);
    await ofView(page, "Live").click();
    await opened;

    const setHidden = (hidden: boolean) =>
      page.evaluate((value) => {
        Object.defineProperty(document, "hidden", { value, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
      }, hidden);
    const closedAgain = page.waitForEvent("requestfailed", isStream);
    await setHidden(true);
    await closedAgain;
    const openedAgain = page.waitForRequest(isStream);
    await setHidden(false);
    await openedAgain;
    await start(visit, "seen-again");
    await lanes(page, "seen-again").waitFor();
  });

  for (const colorScheme of ["light", "dark"] as const) {
    for (const [width, height] of [
      [1440, 900],
      [390, 844],
    ] as const) {
      test(`no serious fault in ${colorScheme} at ${width} x ${height}`, async () => {
        const page = await openLive(visit, { width, height, colorScheme });
        await page.getByText("Nothing to do").waitFor();
        await assertNoFault(page, "an idle server");
        await start(visit, `axe-${colorScheme}-${width}`, { guidance: { scale: 3 }, count: 2 });
        await page.locator(".lane").first().waitFor();
        await page
          .locator(".lane")
          .evaluateAll((all) =>
            Promise.all(all.flatMap((one) => one.getAnimations()).map(({ finished }) => finished)),
          );
        await assertNoFault(page, "a busy server");
      });
    }
  }
});

describe("a server without room", () => {
  let visit: Visit;
  before(async () => {
    visit = await Visit.begin({ args: ["--max-batch-rows", "2", "--max-active-rows", "2"] });
  });
  after(() => visit.end());

  test("shows in the queue who waits, until they start", async () => {
    const page = await openLive(visit);
    await start(visit, "first", { count: 2 });
    await lanes(page, "first").first().waitFor();
    await start(visit, "second", { count: 2 });
    await start(visit, "third");
    const waiting = page.locator(".queue li");
    await waiting.nth(1).waitFor();
    assert.deepEqual(await waiting.locator("a").allTextContents(), ["second", "third"]);
    await waiting.getByText("2 images · 900 steps").waitFor();
    await cancel(visit, "first");
    await lanes(page, "second").first().waitFor();
    await waiting.getByText("second").waitFor({ state: "detached" });
  });
});

describe("a server that restarts", () => {
  let visit: Visit;
  before(async () => (visit = await Visit.begin()));
  after(() => visit.end());

  test("is found again, and what it did before is gone", async () => {
    const page = await openLive(visit);
    await start(visit, "before");
    await lanes(page, "before").waitFor();
    await visit.denoised.killServer();
    await page.getByText("Connection lost").waitFor();
    await visit.denoised.startServer();
    await page.getByText("Connection lost").waitFor({ state: "detached" });
    await lanes(page, "before").waitFor({ state: "detached" });
    await start(visit, "after");
    await lanes(page, "after").waitFor();
  });
});
