// The real server with its page. A server without --http is put behind the development bridge and
// the built files, with the policy that the server's own page has.
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { preview, type PreviewServer } from "vite";
import { bridge } from "../../dev/bridge.ts";

const web = fileURLToPath(new URL("../..", import.meta.url));
const repository = join(web, "../..");
const program = process.env["DENOISED_BIN"] ?? join(repository, "build/release/bin/denoised");
if (!existsSync(program))
  throw new Error(
    `${program} does not exist: build the server, or name another one in DENOISED_BIN`,
  );
const servesHttp = execFileSync(program, ["--help"], { encoding: "utf8" }).includes("--http ");

const contentSecurityPolicy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; " +
  "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

export const classModel = join(repository, "deploy/models/emoji-32");
export const textModel = join(repository, "tests/data/pipelines/sd15-like");

export interface Options {
  /** Folders of models. */
  models?: string[];
  /** More arguments of the server. */
  args?: string[];
}

export class Denoised {
  #process: ChildProcess | undefined;
  #page: PreviewServer | undefined;
  #listen = "127.0.0.1:0";
  #http = "127.0.0.1:0";
  readonly #folder = mkdtempSync(join(tmpdir(), "denoised-web-"));
  readonly #args: string[];

  private constructor({ models = [classModel], args = [] }: Options) {
    for (const model of models) symlinkSync(model, join(this.#folder, basename(model)));
    const metrics = servesHttp ? [] : ["--metrics", "off"];
    this.#args = ["--models", this.#folder, ...metrics, "--threads", "1", ...args];
  }

  static async start(options: Options = {}): Promise<Denoised> {
    const denoised = new Denoised(options);
    await denoised.startServer();
    if (!servesHttp) await denoised.#servePage();
    return denoised;
  }

  /** Of the page, without a slash at its end. */
  get url(): string {
    if (servesHttp) return `http://${this.#http}`;
    return this.#page?.resolvedUrls?.local[0]?.replace(/\/$/, "") ?? "";
  }

  /** A client of a service, over gRPC. */
  client<Service extends DescService>(service: Service): Client<Service> {
    return createClient(service, createGrpcTransport({ baseUrl: `http://${this.#listen}` }));
  }

  /** Starts the server, at its address of before if it has had one. */
  async startServer(): Promise<void> {
    const http = servesHttp ? ["--http", this.#http] : [];
    const child = spawn(program, ["--listen", this.#listen, ...http, ...this.#args], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#process = child;
    let log = "";
    child.stderr.on("data", (chunk: Buffer) => (log += chunk.toString()));
    const addresses = await announcedAddresses(
      child,
      servesHttp ? ["listening", "http"] : ["listening"],
    );
    if (addresses === undefined)
      throw new Error(`${program} has ended before it was ready:\n${log}`);
    this.#listen = addresses.get("listening") ?? this.#listen;
    this.#http = addresses.get("http") ?? this.#http;
  }

  /** Ends the server as a crash does. */
  async killServer(): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
  }

  async stop(): Promise<void> {
    await this.killServer();
    await this.#page?.close();
    rmSync(this.#folder, { recursive: true });
  }

  async #servePage(): Promise<void> {
    this.#page = await preview({
      root: web,
      logLevel: "error",
      plugins: [bridge(this.#listen)],
      preview: {
        host: "127.0.0.1",
        port: 0,
        headers: { "Content-Security-Policy": contentSecurityPolicy },
      },
    });
  }
}

/** Reads lines such as "listening on HOST:PORT" until all of `words` have come. Undefined: it ended. */
function announcedAddresses(
  child: ChildProcess,
  words: string[],
): Promise<Map<string, string> | undefined> {
  const addresses = new Map<string, string>();
  return new Promise((resolve) => {
    child.once("exit", () => resolve(undefined));
    if (child.stdout === null) return;
    createInterface(child.stdout).on("line", (line) => {
      const [, word = "", address = ""] = /^(\w+) on (.+)$/.exec(line) ?? [];
      addresses.set(word, address);
      if (words.every((wanted) => addresses.has(wanted))) resolve(addresses);
    });
  });
}
