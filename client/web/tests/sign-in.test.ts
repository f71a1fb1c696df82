import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Visit } from "./support/browser.ts";
import { program } from "./support/denoised.ts";

describe("a server that asks for a token", () => {
  let visit: Visit;
  let token = "";
  before(async () => {
    const file = join(mkdtempSync(join(tmpdir(), "denoised-tokens-")), "tokens");
    const made = spawnSync(program, ["new-token", "visitor", "--tenant", "acme"]);
    writeFileSync(file, made.stdout);
    token = made.stderr.toString().trim();
    visit = await Visit.begin({ args: ["--tokens", file] });
  });
  after(() => visit.end());

  test("the page asks for it, says when it is refused, and shows it to the server", async () => {
    const page = await visit.open("#train");
    const field = page.getByLabel("Token");
    await field.fill("dnt_visitor_guess");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByPlaceholder("Refused").waitFor();
    await field.fill(token);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("button", { name: "Sign out" }).waitFor();
    await page.getByRole("button", { name: "Create", exact: true }).click();
    await page.locator("form .fields").first().waitFor();
    assert.equal(await page.evaluate(() => localStorage.getItem("denoised.token")), null);

    await page.reload();
    await page.locator("form .fields").first().waitFor();
    await page.getByRole("button", { name: "Sign out" }).click();
    await field.waitFor();
  });
});
