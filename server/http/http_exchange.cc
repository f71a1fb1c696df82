#include "server/http/http_exchange.h"

#include <boost/beast/http/fields.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

std::string_view ToStd(boost::beast::string_view text) { return {text.data(), text.size()}; }

}  // namespace

std::string_view HttpExchange::method() const { return ToStd(head().method_string()); }

std::string_view HttpExchange::path() const {
  std::string_view target = ToStd(head().target());
  // As proxies are asked, and servers must understand, too (RFC 9112, section 3.2.2).
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!target.starts_with(scheme)) continue;
    const size_t path = target.find('/', scheme.size());
    target = path == std::string_view::npos ? std::string_view("/") : target.substr(path);
  }
  return target.substr(0, target.find('?'));
}

std::string_view HttpExchange::Header(std::string_view name) const {
  return ToStd(head()[boost::beast::string_view(name.data(), name.size())]);
}

std::string HttpExchange::JoinedHeader(std::string_view name) const {
  std::string joined;
  const auto [begin, end] = head().equal_range({name.data(), name.size()});
  for (auto field = begin; field != end; ++field) {
    absl::StrAppend(&joined, field == begin ? "" : ",",
                    absl::string_view(field->value().data(), field->value().size()));
  }
  return joined;
}

const TraceContext& HttpExchange::trace() const {
  if (!trace_) trace_ = BeginSpan(JoinedHeader(kTraceparentKey));
  return *trace_;
}

std::string MediaType(std::string_view content_type) {
  std::string type(content_type.substr(0, content_type.find(';')));
  absl::StripAsciiWhitespace(&type);
  absl::AsciiStrToLower(&type);
  return type;
}

HttpResponse PlainText(int status, std::string_view text) {
  return {.status = status,
          .headers = {{"Content-Type", "text/plain; charset=utf-8"}},
          .body = absl::StrCat(std::string(text), "\n")};
}

}  // namespace denoise
