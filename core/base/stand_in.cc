#include "core/base/stand_in.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"

namespace denoise {
namespace {

constexpr char kAgain[] = "copy or download it again";
constexpr StandIn kLfs = {"a Git LFS pointer, not the file itself",
                          "run `git lfs pull` where it was cloned, and copy the file again"};
constexpr StandIn kAnnex = {"a git-annex pointer, not the file itself",
                            "run `git annex get` where it was cloned, and copy the file again"};
constexpr StandIn kPage = {"an HTML page, such as an error or a log-in page", kAgain};
constexpr StandIn kXml = {"an XML document, such as an error of a file store", kAgain};

bool BeginsWithMarkup(std::string_view text, std::string_view tag) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
  return absl::StartsWithIgnoreCase({text.data(), text.size()}, {tag.data(), tag.size()});
}

}  // namespace

std::optional<StandIn> RecogniseStandIn(std::string_view file) {
  if (file.starts_with("version https://git-lfs.github.com/spec/") ||
      file.starts_with("version https://hawser.github.com/spec/")) {
    return kLfs;
  }
  if (file.starts_with("/annex/objects/")) return kAnnex;
  if (BeginsWithMarkup(file, "<!doctype html") || BeginsWithMarkup(file, "<html")) return kPage;
  if (BeginsWithMarkup(file, "<?xml")) return kXml;
  return std::nullopt;
}

}  // namespace denoise
