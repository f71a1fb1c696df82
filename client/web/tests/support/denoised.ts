// The real server with its page.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";

const web = fileURLToPath(new URL("../..", import.meta.url));
const repository = join(web, "../..");
export const program =
  process.env["DENOISED_BIN"] ?? join(repository, "build/release/bin/denoised");
if (!existsSync(program))
  throw new Error(
    `${program} does not exist: build the server, or name another one in DENOISED_BIN`,
  );
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
  #listen = "127.0.0.1:0";
  #http = "127.0.0.1:0";
  readonly #folder = mkdtempSync(join(tmpdir(), "denoised-web-"));
  readonly #args: string[];

  private constructor({ models = [classModel], args = [] }: Options) {
    for (const model of models) symlinkSync(model, join(this.#folder, basename(model)));
    this.#args = ["--models", this.#folder, "--threads", "1", ...args];
  }

  static async start(options: Options = {}): Promise<Denoised> {
    const denoised = new Denoised(options);
    await denoised.startServer();
    return denoised;
  }

  /** Of the page, without a slash at its end. */
  get url(): string {
    return `http://${this.#http}`;
  }

  /** A client of a service, over gRPC. */
  client<Service extends DescService>(service: Service): Client<Service> {
    return createClient(service, createGrpcTransport({ baseUrl: `http://${this.#listen}` }));
  }

  /** Starts the server, at its address of before if it has had one. */
  async startServer(): Promise<void> {
    const addresses = ["--listen", this.#listen, "--http", this.#http];
    const child = spawn(program, [...addresses, ...this.#args], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#process = child;
    let log = "";
    child.stderr.on("data", (chunk: Buffer) => (log += chunk.toString()));
    const announced = await announcedAddresses(child, ["listening", "http"]);
    if (announced === undefined)
      throw new Error(`${program} has ended before it was ready:\n${log}`);
    this.#listen = announced.get("listening") ?? this.#listen;
    this.#http = announced.get("http") ?? this.#http;
  }

  /** Ends the server as a crash does. */
  killServer(): Promise<void> {
    return this.#end("SIGKILL");
  }

  /** Ends the server as an operator does. */
  endServer(): Promise<void> {
    return this.#end("SIGTERM");
  }

  async #end(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill(signal);
    await gone;
  }

  async stop(): Promise<void> {
    await this.killServer();
    rmSync(this.#folder, { recursive: true });
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
