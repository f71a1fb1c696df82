// A TCP proxy that cuts connections.
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

export class CuttingProxy {
  /** How many connections it has accepted. */
  connections = 0;
  /** Whether what the server says reaches the client. */
  answers = true;
  readonly #sockets = new Set<Socket>();

  private constructor(
    private readonly server: Server,
    private readonly target: string,
  ) {
    server.on("connection", (client) => {
      this.#forward(client);
    });
  }

  /** In front of `target`, at an address of its own. */
  static async to(target: string, host = "127.0.0.1", port = 0): Promise<CuttingProxy> {
    const server = createServer({ noDelay: true });
    const proxy = new CuttingProxy(server, target);
    server.listen(port, host);
    await once(server, "listening");
    return proxy;
  }

  get address(): string {
    const { address, port } = this.server.address() as AddressInfo;
    return `${address}:${port}`;
  }

  /** Resets every connection to both sides. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  /** Cuts every connection and accepts no more. */
  close(): void {
    this.server.close();
    this.cut();
  }

  #forward(client: Socket): void {
    this.connections += 1;
    const [host, port] = this.target.split(":");
    const upstream = connect(Number(port), host);
    client.on("data", (bytes) => upstream.write(bytes));
    upstream.on("data", (bytes) => {
      if (this.answers) client.write(bytes);
    });
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      this.#sockets.add(socket);
      socket.on("error", () => undefined); // a reset: the close that follows is all that matters
      socket.on("close", () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
  }
}
