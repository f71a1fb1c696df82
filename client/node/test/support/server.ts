// The real server, in a process of its own.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";

export const packageRoot = path.resolve(import.meta.dirname, "../../..");
export const repository = path.resolve(packageRoot, "../..");
export const starterModels = path.join(repository, "deploy/models");

const temporaryFolders: string[] = [];

process.once("exit", () => {
  for (const folder of temporaryFolders) rmSync(folder, { recursive: true, force: true });
});

/** A folder that is removed when the process ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), "denoised-client-"));
  temporaryFolders.push(folder);
  return folder;
}

/** A folder of models: links to those in `paths`, which are relative to the repository. */
export function modelsFolder(...paths: string[]): string {
  const folder = path.join(temporaryFolder(), "models");
  mkdirSync(folder);
  for (const model of paths) {
    symlinkSync(path.join(repository, model), path.join(folder, path.basename(model)));
  }
  return folder;
}

/** The program under test. */
export function serverBinary(): string {
  const binary = process.env.DENOISED_BIN;
  if (!binary) throw new Error("set DENOISED_BIN to the path of the denoised binary");
  return path.resolve(binary);
}

export class Server {
  private constructor(
    readonly address: string,
    /** Empty where the server was started without --http. */
    readonly httpAddress: string,
    private readonly process: ChildProcess,
  ) {}

  /** Starts a server with the given flags besides --models, and waits until it is ready. */
  static async start(models: string, ...flags: string[]): Promise<Server> {
    const fixed = ["--models", models, "--log-level", "error"];
    const http = flags.includes("--http") ? [] : ["--http", "off"];
    const listen = flags.includes("--listen") ? [] : ["--listen", "127.0.0.1:0"];
    const server = spawn(serverBinary(), [...fixed, ...http, ...listen, ...flags], {
      cwd: repository,
      stdio: ["ignore", "pipe", "inherit"],
    });
    const kill = () => server.kill("SIGKILL");
    process.once("exit", kill);
    server.once("exit", () => process.off("exit", kill));
    let address = "";
    for await (const line of createInterface(server.stdout)) {
      address = /^listening on (.+)$/.exec(line)?.[1] ?? address;
      const httpAddress = http.length > 0 ? "" : /^http on (.+)$/.exec(line)?.[1];
      if (address !== "" && httpAddress !== undefined) {
        return new Server(address, httpAddress, server);
      }
    }
    throw new Error(`denoised ended before it was ready, with ${String(server.exitCode)}`);
  }

  async stop(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const exited = once(this.process, "exit");
    this.process.kill(signal);
    await exited;
  }
}
