#include "client/cli/display/adapter_text.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "client/cli/display/resource_text.h"
#include "client/cli/display/text.h"
#include "client/client.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

constexpr int kMostModels = 2;  // that the table names

std::string ModelsText(const v1::Adapter& adapter) {
  if (!adapter.error().empty()) return "broken";
  if (adapter.models().empty()) return "none that is served";
  std::string text;
  for (int i = 0; i < std::min(adapter.models_size(), kMostModels); ++i) {
    absl::StrAppend(&text, i == 0 ? "" : ", ", Printable(ShortModelName(adapter.models(i))));
  }
  const int more = adapter.models_size() - kMostModels;
  if (more > 0) absl::StrAppend(&text, " and ", more, " more");
  return text;
}

}  // namespace

std::string AdapterTable(const std::vector<v1::Adapter>& adapters) {
  std::vector<std::vector<std::string>> rows = {{"NAME", "RANK", "SIZE", "TRAINED FOR", "FITS"}};
  std::string reasons;
  for (const v1::Adapter& adapter : adapters) {
    const std::string name = Printable(ShortAdapterName(adapter.name()));
    const std::string base = Printable(adapter.base_model());
    rows.push_back({name, adapter.rank() > 0 ? absl::StrCat(adapter.rank()) : "-",
                    BytesText(adapter.file_bytes()), base.empty() ? "-" : base,
                    ModelsText(adapter)});
    if (adapter.error().empty()) continue;
    absl::StrAppend(&reasons, reasons.empty() ? "\n\n" : "\n", name,
                    " cannot be used: ", Printable(adapter.error()));
  }
  return FormatTable(rows) + reasons;
}

std::string AdapterJson(const v1::Adapter& adapter) { return MessageJson(adapter); }

}  // namespace denoise
