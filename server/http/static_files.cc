#include "server/http/static_files.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace denoise {
namespace {

constexpr char kContentSecurityPolicy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'";

bool AcceptsGzip(const HttpExchange& exchange) {
  const std::string_view header = exchange.Header("Accept-Encoding");
  for (absl::string_view coding :
       absl::StrSplit(absl::string_view(header.data(), header.size()), ',')) {
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(coding, absl::MaxSplits(';', 1));
    if (absl::StripAsciiWhitespace(parts.first) != "gzip") continue;
    return !absl::StartsWith(absl::StripAsciiWhitespace(parts.second), "q=0") ||
           absl::StrContains(parts.second, "q=0.");
  }
  return false;
}

// The bytes are ours, so they are whole.
std::string Unzip(std::string_view gzip) {
  constexpr int kGzipWindow = 15 + 16;
  z_stream stream{};
  inflateInit2(&stream, kGzipWindow);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(gzip.data()));
  stream.avail_in = static_cast<uInt>(gzip.size());
  std::string bytes;
  std::array<char, 65536> block;
  int result = Z_OK;
  while (result == Z_OK) {
    stream.next_out = reinterpret_cast<Bytef*>(block.data());
    stream.avail_out = static_cast<uInt>(block.size());
    result = inflate(&stream, Z_NO_FLUSH);
    bytes.append(block.data(), block.size() - stream.avail_out);
  }
  inflateEnd(&stream);
  return bytes;
}

HttpResponse Answer(const HttpExchange& exchange, const StaticFile& file) {
  const bool is_asset = file.path.starts_with("/assets/");
  HttpResponse response;
  response.headers = {
      {"ETag", absl::StrCat("W/", std::string(file.etag))},  // weak: it may be compressed or not
      {"Cache-Control", is_asset ? "public, max-age=31536000, immutable" : "no-cache"},
      {"Vary", "Accept-Encoding"}};
  const std::string_view known = exchange.Header("If-None-Match");
  if (known.find(file.etag) != std::string_view::npos) {
    response.status = 304;
    return response;
  }
  response.headers.emplace_back("Content-Type", file.content_type);
  response.headers.emplace_back("Content-Security-Policy", kContentSecurityPolicy);
  response.headers.emplace_back("Referrer-Policy", "no-referrer");
  if (AcceptsGzip(exchange)) {
    response.headers.emplace_back("Content-Encoding", "gzip");
    response.body = std::string(file.gzip);
  } else {
    response.body = Unzip(file.gzip);
  }
  return response;
}

}  // namespace

const StaticFile* FindFile(const std::vector<StaticFile>& files, std::string_view path) {
  if (path == "/") path = "/index.html";
  const auto found = std::find_if(files.begin(), files.end(),
                                  [&](const StaticFile& file) { return file.path == path; });
  return found == files.end() ? nullptr : &*found;
}

Task<void> ServeFile(HttpExchange& exchange, const StaticFile& file) {
  const HttpResponse response = Answer(exchange, file);
  co_await exchange.Send(response);
}

}  // namespace denoise
