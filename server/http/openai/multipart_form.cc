#include "server/http/openai/multipart_form.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/rfc7230.hpp>
#include <limits>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace denoise::openai {
namespace {

namespace http = boost::beast::http;

constexpr size_t kMaxParts = 64;
constexpr size_t kMaxHeaderBytes = 4096;
constexpr size_t kMaxBoundaryBytes = 70;  // RFC 2046, section 5.1.1
constexpr std::string_view kLineEnd = "\r\n";
constexpr std::string_view kHeadersEnd = "\r\n\r\n";

absl::Status Malformed(std::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat("the body is not multipart/form-data: ", std::string(why)));
}

boost::beast::string_view ToBeast(std::string_view text) { return {text.data(), text.size()}; }

bool IsEqualIgnoringCase(std::string_view a, std::string_view b) {
  return absl::EqualsIgnoreCase({a.data(), a.size()}, {b.data(), b.size()});
}

// "form-data; name=prompt" is a kind with parameters. nullopt where there is not one of `name`.
std::optional<std::string> Parameter(std::string_view header, std::string_view kind,
                                     std::string_view name) {
  const size_t end = std::min(header.find(';'), header.size());
  const absl::string_view given = absl::StripAsciiWhitespace(absl::string_view(header.data(), end));
  if (!IsEqualIgnoringCase({given.data(), given.size()}, kind)) return std::nullopt;
  std::optional<std::string> found;
  for (const auto& [key, value] : http::param_list(ToBeast(header.substr(end)))) {
    if (!IsEqualIgnoringCase({key.data(), key.size()}, name)) continue;
    if (found) return std::nullopt;
    found.emplace(value);
  }
  return found;
}

bool IsBoundary(std::string_view boundary) {
  return !boundary.empty() && boundary.size() <= kMaxBoundaryBytes &&
         std::all_of(boundary.begin(), boundary.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
                  std::string_view("'()+_,-./:=? ").find(c) != std::string_view::npos;
         });
}

// `headers` ends with an empty line. Beast's parser of requests reads them, so they follow the
// first line of one.
absl::StatusOr<http::fields> ParseHeaders(std::string_view headers) {
  http::request_parser<http::empty_body> parser;
  parser.header_limit(std::numeric_limits<uint32_t>::max());  // kMaxHeaderBytes bounds them
  parser.body_limit(std::numeric_limits<uint64_t>::max());    // a Content-Length is of no interest
  const std::string text = absl::StrCat("POST / HTTP/1.1\r\n", std::string(headers));
  boost::system::error_code error;
  parser.put(boost::asio::buffer(text), error);
  if (!parser.is_header_done()) return Malformed("the headers of a part are malformed");
  return static_cast<const http::fields&>(parser.get().base());
}

// The name of the part with these headers.
absl::StatusOr<std::string> NameOf(std::string_view headers) {
  ASSIGN_OR_RETURN(const http::fields fields, ParseHeaders(headers));
  const auto coding = fields["Content-Transfer-Encoding"];
  if (!coding.empty() && coding != "binary" && coding != "8bit" && coding != "7bit") {
    return Malformed("parts may not have a Content-Transfer-Encoding");
  }
  const auto disposition = fields[http::field::content_disposition];
  std::optional<std::string> name;
  if (fields.count(http::field::content_disposition) == 1) {
    name = Parameter({disposition.data(), disposition.size()}, "form-data", "name");
  }
  if (!name) return Malformed("a part has no Content-Disposition: form-data with one name");
  return *std::move(name);
}

// Takes parts off `rest`, which is what follows a boundary.
class PartReader {
 public:
  PartReader(std::string_view rest, std::string_view boundary)
      : rest_(rest), delimiter_(absl::StrCat("\r\n--", std::string(boundary))) {}

  // The next part; nullopt at the end.
  absl::StatusOr<std::optional<FormPart>> Next() {
    if (rest_ == "--" || rest_ == "--\r\n") return std::nullopt;
    if (!rest_.starts_with(kLineEnd)) return Malformed("a boundary does not end its line");
    rest_.remove_prefix(kLineEnd.size());
    const size_t end = rest_.substr(0, kMaxHeaderBytes).find(kHeadersEnd);
    if (end == std::string_view::npos) {
      return Malformed(
          absl::StrCat("the headers of a part have no end within ", kMaxHeaderBytes, " bytes"));
    }
    const std::string_view headers = rest_.substr(0, end + kHeadersEnd.size());
    ASSIGN_OR_RETURN(std::string name, NameOf(headers));
    rest_.remove_prefix(headers.size());
    ASSIGN_OR_RETURN(const std::string_view data, TakeData());
    return FormPart{std::move(name), data};
  }

 private:
  absl::StatusOr<std::string_view> TakeData() {
    const size_t end = rest_.find(delimiter_);
    if (end == std::string_view::npos) return Malformed("it ends within a part");
    const std::string_view data = rest_.substr(0, end);
    rest_.remove_prefix(end + delimiter_.size());
    return data;
  }

  std::string_view rest_;
  const std::string delimiter_;
};

}  // namespace

absl::StatusOr<std::vector<FormPart>> ReadMultipartForm(std::string_view content_type,
                                                        std::string_view body) {
  const std::optional<std::string> boundary =
      Parameter(content_type, "multipart/form-data", "boundary");
  if (!boundary || !IsBoundary(*boundary)) {
    return Malformed("the Content-Type has no boundary of 1 to 70 characters");
  }
  const std::string start = absl::StrCat("--", *boundary);
  if (!body.starts_with(start)) return Malformed("it does not begin with its boundary");
  PartReader reader(body.substr(start.size()), *boundary);
  std::vector<FormPart> parts;
  while (true) {
    ASSIGN_OR_RETURN(std::optional<FormPart> part, reader.Next());
    if (!part) return parts;
    if (parts.size() == kMaxParts) {
      return Malformed(absl::StrCat("it has more than ", kMaxParts, " parts"));
    }
    parts.push_back(*std::move(part));
  }
}

}  // namespace denoise::openai
