#include "server/identity/scope.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/quoted.h"

namespace denoise {
namespace {

std::vector<std::string> WordsOf(std::string_view text, absl::string_view separators) {
  return absl::StrSplit(absl::string_view(text.data(), text.size()), absl::ByAnyChar(separators),
                        absl::SkipEmpty());
}

}  // namespace

std::string_view NameOf(Scope scope) {
  switch (scope) {
    case Scope::kGenerate:
      return "generate";
    case Scope::kTrain:
      return "train";
    case Scope::kAdmin:
      return "admin";
  }
  return "";
}

std::optional<Scope> ScopeNamed(std::string_view name) {
  for (const Scope scope : kScopes) {
    if (NameOf(scope) == name) return scope;
  }
  return std::nullopt;
}

std::vector<Scope> Scopes::list() const {
  std::vector<Scope> scopes;
  for (const Scope scope : kScopes) {
    if ((bits_ & Bit(scope)) != 0) scopes.push_back(scope);
  }
  return scopes;
}

absl::StatusOr<Scopes> Scopes::Parse(std::string_view text) {
  Scopes scopes;
  for (const std::string& word : WordsOf(text, ", ")) {
    const std::optional<Scope> scope = ScopeNamed(word);
    if (!scope) {
      return absl::InvalidArgumentError(
          absl::StrCat(Quoted(word), " is no scope; use generate, train or admin"));
    }
    scopes.Add(*scope);
  }
  return scopes;
}

Scopes Scopes::KnownOf(std::string_view text) {
  Scopes scopes;
  for (const std::string& word : WordsOf(text, " ")) {
    if (const std::optional<Scope> scope = ScopeNamed(word)) scopes.Add(*scope);
  }
  return scopes;
}

}  // namespace denoise
