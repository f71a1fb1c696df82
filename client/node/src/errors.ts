// What a failed call says.
import { Code, ConnectError } from "@connectrpc/connect";
import { durationMs } from "@bufbuild/protobuf/wkt";

import {
  BadRequestSchema,
  ErrorInfoSchema,
  QuotaFailureSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
} from "./gen/google/rpc/error_details_pb.js";

/** The codes of gRPC, by name. */
export type ErrorCode =
  | "CANCELLED"
  | "UNKNOWN"
  | "INVALID_ARGUMENT"
  | "DEADLINE_EXCEEDED"
  | "NOT_FOUND"
  | "ALREADY_EXISTS"
  | "PERMISSION_DENIED"
  | "RESOURCE_EXHAUSTED"
  | "FAILED_PRECONDITION"
  | "ABORTED"
  | "OUT_OF_RANGE"
  | "UNIMPLEMENTED"
  | "INTERNAL"
  | "UNAVAILABLE"
  | "DATA_LOSS"
  | "UNAUTHENTICATED";

const codeNames: Record<Code, ErrorCode> = {
  [Code.Canceled]: "CANCELLED",
  [Code.Unknown]: "UNKNOWN",
  [Code.InvalidArgument]: "INVALID_ARGUMENT",
  [Code.DeadlineExceeded]: "DEADLINE_EXCEEDED",
  [Code.NotFound]: "NOT_FOUND",
  [Code.AlreadyExists]: "ALREADY_EXISTS",
  [Code.PermissionDenied]: "PERMISSION_DENIED",
  [Code.ResourceExhausted]: "RESOURCE_EXHAUSTED",
  [Code.FailedPrecondition]: "FAILED_PRECONDITION",
  [Code.Aborted]: "ABORTED",
  [Code.OutOfRange]: "OUT_OF_RANGE",
  [Code.Unimplemented]: "UNIMPLEMENTED",
  [Code.Internal]: "INTERNAL",
  [Code.Unavailable]: "UNAVAILABLE",
  [Code.DataLoss]: "DATA_LOSS",
  [Code.Unauthenticated]: "UNAUTHENTICATED",
};

/** A field of a request that is wrong. */
export interface FieldViolation {
  /** The field's path as in the .proto files: "sampler.steps", "pictures[0].data". */
  field: string;
  /** What is wrong with it, and what is allowed. */
  description: string;
}

interface ErrorDetails {
  violations?: FieldViolation[];
  retryAfterMs?: number;
  reason?: string;
  metadata?: Record<string, string>;
  resource?: { type: string; name: string };
  quota?: string;
  connectionLost?: boolean;
  cause?: unknown;
}

/** Why a call failed. */
export class DenoisedError extends Error {
  override readonly name = "DenoisedError";
  /** Every wrong field of the request; empty if the request is not the problem. */
  readonly violations: readonly FieldViolation[];
  /** How long the server asks to wait before the call is repeated. */
  readonly retryAfterMs: number | undefined;
  /** The server's reason for programs, such as "GENERATION_EXPIRED". */
  readonly reason: string | undefined;
  /** What belongs to the reason, such as `request_id`, by which the server's log names the call. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The resource that the error is about, such as a model that does not exist. */
  readonly resource: { readonly type: string; readonly name: string } | undefined;
  /** The quota that is used up. */
  readonly quota: string | undefined;
  /** The server could not be reached or the connection broke: UNAVAILABLE, not in its words. */
  readonly connectionLost: boolean;

  constructor(
    readonly code: ErrorCode,
    message: string,
    details: ErrorDetails = {},
  ) {
    super(message, { cause: details.cause });
    this.violations = details.violations ?? [];
    this.retryAfterMs = details.retryAfterMs;
    this.reason = details.reason;
    this.metadata = details.metadata ?? {};
    this.resource = details.resource;
    this.quota = details.quota;
    this.connectionLost = details.connectionLost ?? false;
  }

  static invalidFields(violations: FieldViolation[]): DenoisedError {
    return new DenoisedError("INVALID_ARGUMENT", messageOf(violations), { violations });
  }
}

function messageOf(violations: readonly FieldViolation[]): string {
  const lines = violations.map(({ field, description }) =>
    field ? `${field}: ${description}` : description,
  );
  return lines.length === 1 ? lines.join() : ["the request is invalid", ...lines].join("\n  ");
}

/** What a call threw, as a DenoisedError. `address` is named where the connection failed. */
export function toDenoisedError(thrown: unknown, address: string): DenoisedError {
  const error = ConnectError.from(thrown);
  if (error.metadata.has("grpc-status")) return errorOfServer(error, address);
  if (isConnectionFailure(error)) return noConnection(error, address);
  return new DenoisedError(codeNames[error.code], error.rawMessage, { cause: thrown });
}

function errorOfServer(error: ConnectError, address: string): DenoisedError {
  const info = error.findDetails(ErrorInfoSchema)[0];
  const retry = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  const resource = error.findDetails(ResourceInfoSchema)[0];
  const violations = error
    .findDetails(BadRequestSchema)
    .flatMap((detail) => detail.fieldViolations)
    .map(({ field, description }) => ({ field, description }));
  // The list says all that the server's own message says, in a form made for reading.
  const words = error.rawMessage || wordsFor(codeNames[error.code], address);
  const message = violations.length > 0 ? messageOf(violations) : words;
  return new DenoisedError(codeNames[error.code], message, {
    violations,
    ...(retry && { retryAfterMs: durationMs(retry) }),
    ...(info && { reason: info.reason, metadata: info.metadata }),
    ...(resource && { resource: { type: resource.resourceType, name: resource.resourceName } }),
    quota: error.findDetails(QuotaFailureSchema)[0]?.violations[0]?.subject,
    cause: error,
  });
}

// gRPC itself answers some calls without a message.
function wordsFor(code: ErrorCode, address: string): string {
  return code === "UNIMPLEMENTED"
    ? `the server at ${address} does not offer this call: it may be older than this client, or lack --state`
    : `the server at ${address} answered ${code} without a reason`;
}

// A call that ended without a status: the HTTP/2 stream or its connection did. These are the codes
// that connect-node gives to that.
function isConnectionFailure(error: ConnectError): boolean {
  const codes = [Code.Unavailable, Code.Aborted, Code.Canceled, Code.Internal, Code.Unknown];
  return codes.includes(error.code);
}

function noConnection(error: ConnectError, address: string): DenoisedError {
  return new DenoisedError("UNAVAILABLE", `no connection to ${address} (${error.rawMessage})`, {
    connectionLost: true,
    cause: error,
  });
}
