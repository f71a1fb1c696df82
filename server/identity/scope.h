// What a caller may do.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace denoise {

enum class Scope {
  kGenerate,  // make images and read models
  kTrain,     // data sets and training jobs
  kAdmin,     // everything, for every tenant
};

inline constexpr Scope kScopes[] = {Scope::kGenerate, Scope::kTrain, Scope::kAdmin};

// "generate", "train", "admin".
std::string_view NameOf(Scope scope);
std::optional<Scope> ScopeNamed(std::string_view name);

// A set of scopes. `admin` includes the others.
class Scopes {
 public:
  constexpr Scopes() = default;
  constexpr Scopes(std::initializer_list<Scope> scopes) {
    for (const Scope scope : scopes) Add(scope);
  }

  constexpr void Add(Scope scope) { bits_ |= Bit(scope); }
  constexpr bool Has(Scope scope) const { return (bits_ & (Bit(scope) | Bit(Scope::kAdmin))) != 0; }
  constexpr bool operator==(const Scopes&) const = default;
  // As they were added: without what `admin` includes.
  std::vector<Scope> list() const;

  // "generate,train", separated by commas or spaces. InvalidArgument names what is no scope.
  static absl::StatusOr<Scopes> Parse(std::string_view text);
  // Of a token's claim, which is separated by spaces (RFC 6749, section 3.3) and may list scopes of
  // other services.
  static Scopes KnownOf(std::string_view text);

 private:
  static constexpr uint8_t Bit(Scope scope) {
    return static_cast<uint8_t>(1U << static_cast<unsigned>(scope));
  }
  uint8_t bits_ = 0;
};

}  // namespace denoise
