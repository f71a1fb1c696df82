#include "core/io/foreign_file.h"

#include "absl/strings/str_cat.h"
#include "core/base/stand_in.h"

namespace denoise {
namespace {

using std::string_view_literals::operator""sv;

constexpr char kAgain[] = "copy or download it again";
constexpr char kConvert[] =
    "which is never read because it can run code; save the weights as safetensors, for example "
    "with save_pretrained";
constexpr char kNoWeights[] = "not a file of a model; copy or download it again";

struct Kind {
  std::string_view beginning;
  std::string_view name;
  std::string_view remedy;
};

constexpr Kind kKinds[] = {
    {"PK\x03\x04"sv, "is a zip archive, as torch.save writes it", kConvert},
    {"\x80\x02"sv, "is a Python pickle", kConvert},
    {"\x80\x03"sv, "is a Python pickle", kConvert},
    {"\x80\x04"sv, "is a Python pickle", kConvert},
    {"\x80\x05"sv, "is a Python pickle", kConvert},
    {"\x1f\x8b"sv, "is compressed by gzip", "decompress it"},
    {"\x28\xb5\x2f\xfd"sv, "is compressed by zstd", "decompress it"},
    {"\xfd"
     "7zXZ\0"sv,
     "is compressed by xz", "decompress it"},
    {"\x89HDF\r\n\x1a\n"sv, "is an HDF5 file", "save the weights as safetensors"},
    {"\x93NUMPY"sv, "is a NumPy array", "save the weights as safetensors"},
    {"GGUF"sv, "is a GGUF file", "save the weights as safetensors"},
    {"\x89PNG\r\n\x1a\n"sv, "is a PNG picture", kNoWeights},
    {"\xff\xd8\xff"sv, "is a JPEG picture", kNoWeights},
    {"\xff\xfe"sv, "is UTF-16 text", "save it as UTF-8"},
    {"\xfe\xff"sv, "is UTF-16 text", "save it as UTF-8"},
};

std::string KindAndRemedy(std::string_view name, std::string_view remedy) {
  return absl::StrCat(std::string(name), "; ", std::string(remedy));
}

bool BeginsWithZeros(std::string_view file) {
  constexpr size_t kBytes = 4096;
  return file.substr(0, kBytes).find_first_not_of('\0') == std::string_view::npos;
}

}  // namespace

std::optional<std::string> ForeignKind(std::string_view file) {
  if (file.empty()) return KindAndRemedy("is empty", kAgain);
  for (const Kind& kind : kKinds) {
    if (file.starts_with(kind.beginning)) return KindAndRemedy(kind.name, kind.remedy);
  }
  if (const std::optional<StandIn> found = RecogniseStandIn(file)) {
    return KindAndRemedy(absl::StrCat("is ", std::string(found->name)), found->remedy);
  }
  if (BeginsWithZeros(file))
    return KindAndRemedy("begins with zeros only, as an unfinished copy does", kAgain);
  return std::nullopt;
}

}  // namespace denoise
