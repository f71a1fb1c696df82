// What went wrong with a call, in the words that the page shows.
import { Code, ConnectError } from "@connectrpc/connect";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "../gen/google/rpc/error_details_pb.ts";

/** A field of the request that is wrong: its path in the request, such as "sampler.steps". */
export interface Violation {
  field: string;
  description: string;
}

export interface Problem {
  title: string;
  /** What the server says about it. */
  message: string;
  code: Code;
  /** The `reason` of google.rpc.ErrorInfo, such as "GENERATION_EXPIRED". Empty: none. */
  reason: string;
  violations: Violation[];
  /** How long the server asks to wait before another try. Undefined: it does not say. */
  retryAfterMs?: number;
  /** The server was not reached, or went away in the middle of its answer. */
  connectionLost: boolean;
}

const titles: Partial<Record<Code, string>> = {
  [Code.Canceled]: "Cancelled",
  [Code.InvalidArgument]: "The request is invalid",
  [Code.NotFound]: "Not found",
  [Code.AlreadyExists]: "The name is taken",
  [Code.PermissionDenied]: "This server does not allow it",
  [Code.Unauthenticated]: "Sign in first",
  [Code.ResourceExhausted]: "Out of room",
  [Code.FailedPrecondition]: "Not possible now",
  [Code.Unimplemented]: "This server cannot do it",
  [Code.Unavailable]: "The server is busy",
};

/** Reads the google.rpc details of what a call has thrown. */
export function problemOf(thrown: unknown): Problem {
  const error = ConnectError.from(thrown);
  const wait = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  const retryAfterMs = wait && Number(wait.seconds) * 1000 + wait.nanos / 1e6;
  // An error that the server has sent has no cause; the browser's own errors have one. Only
  // look-ups have a deadline.
  const connectionLost =
    error.code !== Code.Canceled &&
    retryAfterMs === undefined &&
    (error.cause !== undefined ||
      error.code === Code.Unavailable ||
      error.code === Code.DeadlineExceeded);
  return {
    title: connectionLost
      ? "The server cannot be reached"
      : (titles[error.code] ?? "The server failed"),
    message: connectionLost
      ? "Check that it runs and that this device reaches it. The page tries again by itself."
      : error.rawMessage,
    code: error.code,
    reason: error.findDetails(ErrorInfoSchema)[0]?.reason ?? "",
    violations: error
      .findDetails(BadRequestSchema)
      .flatMap((detail) => detail.fieldViolations)
      .map(({ field, description }) => ({ field, description })),
    retryAfterMs,
    connectionLost,
  };
}
