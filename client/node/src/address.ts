// The address of a server, "host:port" or "[::1]:port".
import { isIPv4 } from "node:net";

/** Brackets, which an IPv6 address needs, are not part of the host. */
export function hostOf(address: string): string {
  return new URL(`http://${address}`).hostname.replace(/^\[|\]$/g, "");
}

/** Whether a server is on this machine. "127.example.org" may be the name of any machine. */
export function isLoopback(address: string): boolean {
  const host = hostOf(address);
  return host === "localhost" || host === "::1" || (isIPv4(host) && host.startsWith("127."));
}
