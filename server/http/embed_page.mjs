// Writes the files of a folder as a C++ source that defines PageFiles (static_files.h):
//     node server/http/embed_page.mjs FOLDER SOURCE
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { extname, join, relative } from "node:path";
import { constants, gzipSync } from "node:zlib";

const types = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".ico": "image/x-icon",
  ".js": "text/javascript; charset=utf-8",
  ".png": "image/png",
  ".svg": "image/svg+xml",
  ".webmanifest": "application/manifest+json",
};
const [folder, source] = process.argv.slice(2);

// Each byte takes four characters, so that no digit after it can become part of it.
function literal(bytes) {
  const lines = [];
  for (let at = 0; at < bytes.length; at += 24) {
    const line = bytes.subarray(at, at + 24);
    lines.push('"' + Array.from(line, (byte) => "\\" + byte.toString(8).padStart(3, "0")).join("") + '"');
  }
  return lines.join("\n");
}

const files = readdirSync(folder, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
  .sort();
const entries = files.map((file) => {
  const type = types[extname(file)];
  if (type === undefined) throw new Error(`${file}: the page has no such files so far; add their type`);
  const bytes = readFileSync(file);
  const etag = createHash("sha256").update(bytes).digest("hex").slice(0, 16);
  const gzip = gzipSync(bytes, { level: constants.Z_BEST_COMPRESSION });
  gzip[9] = 255; // which system has packed it is nobody's business, and the same sources give the same bytes
  return `{"/${relative(folder, file)}", "${type}", "\\"${etag}\\"",
std::string_view(
${literal(gzip)},
${gzip.length})}`;
});
writeFileSync(
  source,
  `#include "server/http/static_files.h"

namespace denoise {

const std::vector<StaticFile>& PageFiles() {
  static const auto* const files = new std::vector<StaticFile>{
${entries.join(",\n")}};
  return *files;
}

}  // namespace denoise
`,
);
