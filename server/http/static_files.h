// Files that are part of the program, served compressed: the page.
#pragma once

#include <string_view>
#include <vector>

#include "server/http/http_exchange.h"

namespace denoise {

struct StaticFile {
  std::string_view path;          // "/assets/index-1a2b3c.js"
  std::string_view content_type;  // "text/javascript; charset=utf-8"
  std::string_view etag;          // with its quotes; another for other bytes
  std::string_view gzip;
};

// The page, in client/web; empty where the server was built without it.
const std::vector<StaticFile>& PageFiles();

// Null where there is none. "/" is "/index.html".
const StaticFile* FindFile(const std::vector<StaticFile>& files, std::string_view path);

// Answers GET and HEAD. Scripts, styles and whatever else a page may load are the server's own
// alone, and no other site may show the page in a frame. A browser keeps what is under /assets,
// whose names change with their bytes, and asks again for all else.
Task<void> ServeFile(HttpExchange& exchange, const StaticFile& file);

}  // namespace denoise
