// A browser that the page is tested in, and what every visit must keep to: no request to another
// host, no violation of the Content-Security-Policy, no error that nobody has caught.
import assert from "node:assert/strict";
import axe, { type AxeResults } from "axe-core";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { Denoised, type Options } from "./denoised.ts";

const executablePath = process.env["CHROMIUM"] ?? "/usr/bin/chromium";

// For an event that comes: long, because the machine may be busy with other things.
const waitMsMax = 120_000;

export interface Look {
  width?: number;
  height?: number;
  colorScheme?: "light" | "dark";
}

export class Visit {
  readonly #browser: Browser;
  readonly #contexts: BrowserContext[] = [];
  readonly #faults: string[] = [];

  private constructor(
    readonly denoised: Denoised,
    browser: Browser,
  ) {
    this.#browser = browser;
  }

  static async begin(options: Options = {}): Promise<Visit> {
    const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
    return new Visit(await Denoised.start(options), browser);
  }

  /** Opens the page in a browser of its own: nothing is shared with other visitors. */
  async open(
    address = "",
    { width = 1440, height = 900, colorScheme = "light" }: Look = {},
  ): Promise<Page> {
    const context = await this.#browser.newContext({ viewport: { width, height }, colorScheme });
    this.#contexts.push(context);
    context.setDefaultTimeout(waitMsMax);
    await this.#watch(context);
    return this.openTab(context, address);
  }

  /** Opens the page in another tab of the same browser. */
  async openTab(context: BrowserContext, address = ""): Promise<Page> {
    const page = await context.newPage();
    await page.goto(`${this.denoised.url}/${address}`);
    await page.locator("form .fields, .train h1").first().waitFor();
    return page;
  }

  /** Fails if the page has done what it must not do. */
  async end(): Promise<void> {
    for (const context of this.#contexts) await context.close();
    await this.#browser.close();
    await this.denoised.stop();
    assert.deepEqual(this.#faults, []);
  }

  async #watch(context: BrowserContext): Promise<void> {
    const { host } = new URL(this.denoised.url);
    context.on("request", (request) => {
      const url = new URL(request.url());
      if (url.protocol.startsWith("http") && url.host !== host)
        this.#faults.push(`request to ${url.href}`);
    });
    context.on("weberror", (error) => this.#faults.push(`error: ${String(error.error())}`));
    await context.exposeFunction("reportViolation", (text: string) => void this.#faults.push(text));
    await context.addInitScript(() => {
      document.addEventListener("securitypolicyviolation", (event) => {
        const report = (window as unknown as { reportViolation: (text: string) => void })
          .reportViolation;
        report(`policy: ${event.violatedDirective} ${event.blockedURI}`);
      });
    });
  }
}

export const stage = (page: Page) => page.locator(".stage");

/** Waits until the generation that is shown is in `state`. */
export async function reach(page: Page, state: string): Promise<void> {
  await page.locator(`.stage[data-state="${state}"]`).waitFor({ timeout: waitMsMax });
}

/** Waits until a frame of this step or a later one is shown. Returns its step. */
export async function reachStep(page: Page, step: number): Promise<number> {
  const shown = await page.waitForFunction(
    (wanted) => {
      const text = document.querySelector<HTMLElement>(".stage")?.dataset["step"];
      return Number(text ?? 0) >= wanted ? Number(text) : 0;
    },
    step,
    { timeout: waitMsMax },
  );
  return shown.jsonValue();
}

export async function generate(page: Page): Promise<void> {
  await page.getByRole("button", { name: "Generate", exact: true }).click();
}

/** The pixels of the finished image, as the address of a PNG. */
export async function finishedImage(page: Page): Promise<string> {
  const canvas = page.locator('canvas[aria-label^="The finished image"][aria-busy="false"]');
  return canvas.evaluate((element) => (element as HTMLCanvasElement).toDataURL());
}

/** The control of a field of the request. */
export const control = (page: Page, path: string) => page.locator(`[name="${path}"]`);

/** Fails if people who cannot see or point, or have a small screen, could not use what is shown. */
export async function assertNoFault(page: Page, where: string): Promise<void> {
  await page.evaluate(axe.source);
  const results = await page.evaluate(() =>
    (window as unknown as { axe: { run(): Promise<AxeResults> } }).axe.run(),
  );
  const serious = results.violations.filter(
    ({ impact }) => impact === "serious" || impact === "critical",
  );
  const found = serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
  assert.deepEqual(found, [], where);
  const fits = await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth);
  assert.ok(fits, `${where}: the page is wider than the screen`);
}
