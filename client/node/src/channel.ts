// A way to a server: one HTTP/2 connection at a time, and what every call takes with it.
import type { LookupAddress } from "node:dns";
import type { LookupFunction } from "node:net";

import type { Transport } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";

import { isLoopback } from "./address.js";
import { DenoisedError } from "./errors.js";
import type { Settings } from "./options.js";

/** Opens its connection with the first call, and again whenever it breaks. */
export class Channel {
  readonly transport: Transport;
  readonly #sessions: Http2SessionManager;

  /** With `server`, only to this one of the addresses of the settings' name, and under that name. */
  constructor(settings: Settings, server?: LookupAddress) {
    const { address, tls, maxReceiveBytes } = settings;
    const authorization = authorizationOf(settings);
    const baseUrl = `${tls ? "https" : "http"}://${address}`;
    this.#sessions = new Http2SessionManager(
      baseUrl,
      {
        pingIntervalMs: settings.keepaliveIntervalMs,
        pingTimeoutMs: settings.keepaliveTimeoutMs,
      },
      {
        ...(tls && { ca: tls.rootCertificates, cert: tls.certificate, key: tls.key }),
        ...(server && { lookup: always(server) }),
      },
    );
    this.transport = createGrpcTransport({
      baseUrl,
      sessionManager: this.#sessions,
      readMaxBytes: maxReceiveBytes,
      interceptors: [
        (next) => (request) => {
          if (authorization) request.header.set("Authorization", authorization);
          return next(request);
        },
      ],
      acceptCompression: [], // pictures are compressed already
    });
  }

  /** Ends every call. */
  close(): void {
    this.#sessions.abort();
  }
}

// Resolves every name to this server. The name remains what the certificate must have.
function always(server: LookupAddress): LookupFunction {
  return (_, options, callback) => {
    if (options.all) callback(null, [server]);
    else callback(null, server.address, server.family);
  };
}

function authorizationOf({ address, tls, token, tokenOverPlaintext }: Settings): string {
  if (token === "") return "";
  if (tls || isLoopback(address) || tokenOverPlaintext) return `Bearer ${token}`;
  throw new DenoisedError(
    "INVALID_ARGUMENT",
    `the token would be sent to ${address} without encryption, and anybody on the way could use ` +
      "it: set tls, or tokenOverPlaintext if the network is yours",
  );
}
