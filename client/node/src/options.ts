// How a client reaches its server, and what callers may say about each call.
import type { DenoisedError } from "./errors.js";

export interface TlsOptions {
  /** PEM. Absent: the certificates that Node.js trusts. */
  rootCertificates?: string | Buffer;
  /** PEM, for servers that ask for a certificate: a chain and its private key. */
  certificate?: string | Buffer;
  key?: string | Buffer;
}

export interface ClientOptions {
  /** `host:port`. Default: the environment variable DENOISED_SERVER, otherwise 127.0.0.1:50051. */
  address?: string;
  /** Absent: the connection is not encrypted. */
  tls?: TlsOptions;
  /**
   * For servers that ask for a token. Default: the environment variable DENOISED_TOKEN, otherwise
   * none. It goes to another machine only if the connection is encrypted.
   */
  token?: string;
  /** Send the token without encryption, too. Default: false. */
  tokenOverPlaintext?: boolean;
  /**
   * For calls that are answered at once and given no timeout: 10,000 by default. Streams, uploads,
   * loading and publishing take any time unless a call says otherwise.
   */
  unaryTimeoutMs?: number;
  /** The largest message to take. Default: 256 MiB. */
  maxReceiveBytes?: number;
  /**
   * A connection that a firewall dropped without a word is noticed after about the sum of the two.
   * Default: 30,000 and 20,000.
   */
  keepaliveIntervalMs?: number;
  keepaliveTimeoutMs?: number;
  /**
   * Attempts of one call while the server is UNAVAILABLE; 1 never retries. Default: 4. The waits
   * between them are the server's where it states them, and grow from 0.2 to 5 seconds otherwise.
   */
  maxAttempts?: number;
  /**
   * How long a stream that has begun tries to come back after its connection broke. Default:
   * 60,000.
   */
  reconnectTimeoutMs?: number;
  /** Called before each wait for another attempt. */
  onRetry?: (error: DenoisedError, delayMs: number) => void;
}

export interface CallOptions {
  /** Cancels the call when it is aborted. */
  signal?: AbortSignal;
  /** Gives up after this many milliseconds, all attempts together. */
  timeoutMs?: number;
}

/** ClientOptions with every default filled in. */
export type Settings = Required<Omit<ClientOptions, "tls">> & { tls: TlsOptions | undefined };

export function withDefaults(options: ClientOptions): Settings {
  return {
    address: options.address ?? process.env.DENOISED_SERVER ?? "127.0.0.1:50051",
    tls: options.tls,
    token: options.token ?? process.env.DENOISED_TOKEN ?? "",
    tokenOverPlaintext: options.tokenOverPlaintext ?? false,
    unaryTimeoutMs: options.unaryTimeoutMs ?? 10_000,
    maxReceiveBytes: options.maxReceiveBytes ?? 256 * 2 ** 20,
    keepaliveIntervalMs: options.keepaliveIntervalMs ?? 30_000,
    keepaliveTimeoutMs: options.keepaliveTimeoutMs ?? 20_000,
    maxAttempts: options.maxAttempts ?? 4,
    reconnectTimeoutMs: options.reconnectTimeoutMs ?? 60_000,
    onRetry: options.onRetry ?? (() => undefined),
  };
}
