// Runs the example and every TypeScript block of docs/node.md, exactly as they are printed.
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";

import { pngPicture } from "./support/png.js";
import { run } from "./support/program.js";
import {
  modelsFolder,
  packageRoot,
  repository,
  Server,
  temporaryFolder,
} from "./support/server.js";

let server: Server;
const folder = temporaryFolder();

// What the page takes for granted: its models, an adapter, and pictures.
before(async () => {
  const models = modelsFolder("deploy/models/emoji-32");
  const pipeline = path.join(repository, "tests/data/pipelines/sd15-like");
  const adapters = path.join(folder, "adapters");
  mkdirSync(adapters);
  symlinkSync(pipeline, path.join(models, "stable-diffusion-v1-5"));
  symlinkSync(
    path.join(pipeline, "loras/kohya-conv.safetensors"),
    path.join(adapters, "pixel-art.safetensors"),
  );
  server = await Server.start(
    models,
    "--adapters",
    adapters,
    "--state",
    path.join(folder, "state"),
  );
  for (const [name, color] of [
    ["cats", [200, 120, 40]],
    ["dogs", [60, 60, 120]],
  ] as const) {
    mkdirSync(path.join(folder, "pictures", name), { recursive: true });
    for (let i = 1; i <= 4; ++i) {
      writeFileSync(path.join(folder, "pictures", name, `${i}.png`), pngPicture(16, [...color]));
    }
  }
  writeFileSync(path.join(folder, "photo.png"), pngPicture(40, [10, 200, 90]));
});

after(async () => {
  await server.stop();
});

async function runHere(program: string): Promise<string> {
  const env = { DENOISED_SERVER: server.address };
  return run(process.execPath, [program], { cwd: folder, env });
}

test("the example has at most 25 lines and generates its images", async () => {
  const example = path.join(packageRoot, "examples/generate.js");
  const lines = readFileSync(example, "utf8").trimEnd().split("\n");
  assert.ok(lines.length <= 25);
  const output = await runHere(example);
  assert.match(output, /image-0\.png has the seed 7\n/);
  assert.match(output, /image-1\.png has the seed 8\n/);
  const written = readdirSync(folder).filter((name) => name.startsWith("image-"));
  assert.equal(written.length, 2 + 2 * 4);
});

test("every block of the page passes the compiler and runs", async (t) => {
  const page = readFileSync(path.join(repository, "docs/node.md"), "utf8");
  const blocks = [...page.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code ?? "");
  assert.ok(blocks.length >= 9);
  // Inside the package, so that they find it by its name.
  const sources = path.join(packageRoot, "dist/documentation");
  mkdirSync(sources, { recursive: true });
  const files = blocks.map((code, i) => {
    const file = path.join(sources, `block-${i + 1}.ts`);
    writeFileSync(file, code);
    return file;
  });
  const compiler = path.join(packageRoot, "node_modules/typescript/bin/tsc");
  const options = "--ignoreConfig --strict --module nodenext --target es2022 --types node".split(
    " ",
  );
  await run(process.execPath, [compiler, ...options, ...files], { cwd: packageRoot });
  for (const [i, file] of files.entries()) {
    await t.test(`block ${i + 1}`, async () => {
      const output = await runHere(file.replace(/\.ts$/, ".js"));
      assert.ok(output.length > 0 || !blocks[i]?.includes("console.log"), "it printed nothing");
    });
  }
});
