// The package as others get it.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import path from "node:path";
import { after, before, test } from "node:test";

import { run } from "./support/program.js";
import { packageRoot, Server, starterModels, temporaryFolder } from "./support/server.js";

let server: Server;
const folder = temporaryFolder();
const project = path.join(folder, "project");
const env = { npm_config_cache: path.join(folder, "cache"), npm_config_offline: "true" };

const dependencies = ["@bufbuild/protobuf", "@connectrpc/connect", "@connectrpc/connect-node"];

interface Packed {
  filename: string;
  files: { path: string }[];
}

before(async () => {
  server = await Server.start(starterModels);
});

after(async () => {
  await server.stop();
});

test("the package holds what was generated and nothing that is not needed", async () => {
  const pack = ["pack", "--json", "--ignore-scripts", "--pack-destination", folder];
  const [packed] = JSON.parse(await run("npm", pack, { cwd: packageRoot, env })) as [Packed];
  const files = packed.files.map((file) => file.path);
  for (const needed of [
    "LICENSE",
    "README.md",
    "dist/src/index.js",
    "dist/src/index.d.ts",
    "dist/src/gen/denoised/v1/image_generation_pb.js",
    "dist/src/gen/google/rpc/error_details_pb.js",
    "examples/generate.js",
  ]) {
    assert.ok(files.includes(needed), needed);
  }
  assert.deepEqual(
    files.filter((file) => /test|node_modules|npm-cache|^src/.test(file)),
    [],
  );
});

test("the package imports nothing that it does not depend on", async () => {
  const manifest = JSON.parse(readFileSync(path.join(packageRoot, "package.json"), "utf8")) as {
    dependencies: Record<string, string>;
  };
  assert.deepEqual(Object.keys(manifest.dependencies).sort(), dependencies);
  const sources = path.join(packageRoot, "dist/src");
  const files = (await readdir(sources, { recursive: true })).filter((file) =>
    file.endsWith(".js"),
  );
  const imports = files.flatMap((file) => {
    const text = readFileSync(path.join(sources, file), "utf8");
    return [...text.matchAll(/^(?:import|export) .*?from "(.+?)";$/gms)].map(([, name]) => name);
  });
  const packages = imports.filter((name) => name && !/^(\.|node:)/.test(name));
  const known = dependencies.flatMap((name) => [name, `${name}/wkt`, `${name}/codegenv2`]);
  assert.deepEqual(
    packages.filter((name) => name && !known.includes(name)),
    [],
  );
  assert.ok(packages.length > 0);
});

test("an empty project installs the package, type-checks against it and generates", async () => {
  mkdirSync(project);
  writeFileSync(path.join(project, "package.json"), '{ "private": true, "type": "module" }');
  // From the folders of this package's own dependencies: a test needs no network.
  const types = ["@types/node", "undici-types"];
  const installed = [...dependencies, ...types].map((name) =>
    path.join(packageRoot, "node_modules", name),
  );
  const tarball = path.join(folder, "denoised-client-0.1.0.tgz");
  const install = ["install", "--no-audit", "--no-fund", "--install-links", tarball, ...installed];
  await run("npm", install, { cwd: project, env });

  const source = path.join(project, "generate.ts");
  writeFileSync(
    source,
    `import { Client, type ImageEvent } from "denoised-client";
import { Sampler } from "denoised-client/proto";

const client = new Client();
const [image]: ImageEvent[] = await client.generateImages({
  model: "emoji-32",
  classLabel: 2,
  sampler: "ddim",
  steps: 2,
});
console.log(image?.image.width, Sampler.DDIM);
`,
  );
  const compiler = path.join(packageRoot, "node_modules/typescript/bin/tsc");
  const options =
    "--ignoreConfig --strict --module nodenext --target es2022 --lib es2023 --types node".split(
      " ",
    );
  await run(process.execPath, [compiler, ...options, source], { cwd: project });
  const place = { cwd: project, env: { DENOISED_SERVER: server.address } };
  assert.equal(await run(process.execPath, ["generate.js"], place), "32 2\n");
});
