// Other programs, in processes of their own.
import { execFile } from "node:child_process";
import { promisify } from "node:util";

export interface Place {
  cwd: string;
  env?: Record<string, string>;
}

// Far more than any of them needs.
const timeoutMs = 300_000;

/** Runs a program to its end and returns what it printed. Rejects if it fails, with all output. */
export async function run(program: string, args: string[], place: Place): Promise<string> {
  const env = { ...process.env, ...place.env };
  try {
    return (await promisify(execFile)(program, args, { cwd: place.cwd, env, timeout: timeoutMs }))
      .stdout;
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string };
    throw new Error(`${program} ${args.join(" ")}\n${stdout}\n${stderr}`, { cause: error });
  }
}
