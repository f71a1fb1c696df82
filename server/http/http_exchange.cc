#include "server/http/http_exchange.h"

#include <boost/beast/http/fields.hpp>

#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

std::string_view ToStd(boost::beast::string_view text) { return {text.data(), text.size()}; }

}  // namespace

std::string_view HttpExchange::method() const { return ToStd(head().method_string()); }

std::string_view HttpExchange::path() const {
  const std::string_view target = ToStd(head().target());
  return target.substr(0, target.find('?'));
}

std::string_view HttpExchange::Header(std::string_view name) const {
  return ToStd(head()[boost::beast::string_view(name.data(), name.size())]);
}

HttpResponse PlainText(int status, std::string_view text) {
  return {.status = status,
          .headers = {{"Content-Type", "text/plain; charset=utf-8"}},
          .body = absl::StrCat(std::string(text), "\n")};
}

}  // namespace denoise
