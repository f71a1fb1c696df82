// Serves the page from its sources: npm run dev -- --server HOST:PORT. Its calls go to that gRPC
// server; what you change is seen at once.
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { createServer } from "vite";
import { bridge } from "./bridge.ts";

const { values } = parseArgs({
  options: {
    server: { type: "string", default: process.env["DENOISED_SERVER"] ?? "127.0.0.1:50051" },
    host: { type: "string", default: "127.0.0.1" },
    port: { type: "string", default: "5173" },
  },
});

const server = await createServer({
  root: fileURLToPath(new URL("..", import.meta.url)),
  plugins: [bridge(values.server)],
  server: { host: values.host, port: Number(values.port) },
});
await server.listen();
server.printUrls();
console.log(`calls go to ${values.server}`);
