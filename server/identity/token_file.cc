#include "server/identity/token_file.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/quoted.h"
#include "core/base/sha256.h"
#include "core/base/status_macros.h"
#include "core/json/strict_json.h"
#include "server/identity/random_bytes.h"

namespace denoise {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kPrefix = "dnt_";
constexpr size_t kSecretBytes = 32;
constexpr size_t kSaltBytes = 16;
constexpr size_t kMaxNameBytes = 64;
constexpr size_t kHashDigits = 64;
constexpr size_t kMaxLineBytes = 4096;

// No '_': it ends the name in a token.
bool IsValidName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameBytes &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '.';
         });
}

bool IsHex(std::string_view text, size_t min_digits) {
  return text.size() >= min_digits && text.size() % 2 == 0 &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::string HashOf(std::string_view salt, std::string_view token) {
  Sha256 hash;
  hash.AddPart("salt", salt);
  hash.AddPart("token", token);
  return hash.Finish();
}

bool AreEqual(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

// "ci" of "dnt_ci_...".
std::string_view NameIn(std::string_view token) {
  if (!LooksLikeToken(token)) return "";
  const std::string_view rest = token.substr(kPrefix.size());
  return rest.substr(0, std::min(rest.find('_'), rest.size()));
}

absl::Status Wrong(std::string_view field, std::string_view rule) {
  return absl::InvalidArgumentError(std::string(field).append(" ").append(rule));
}

absl::Status CheckEntry(const TokenEntry& entry) {
  if (!IsValidName(entry.name)) {
    return Wrong("name", "must be 1 to 64 letters, digits, '-' and '.'");
  }
  if (!IsValidTenant(entry.tenant)) return Wrong("tenant", kTenantRule);
  if (entry.scopes == Scopes()) return Wrong("scopes", "must name generate, train or admin");
  if (!IsHex(entry.salt, 2 * kSaltBytes)) {
    return Wrong("salt", "must be at least 32 lower-case hexadecimal digits");
  }
  if (!IsHex(entry.sha256, kHashDigits) || entry.sha256.size() != kHashDigits) {
    return Wrong("sha256", "must be 64 lower-case hexadecimal digits");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> TextOf(const std::string& key, const nlohmann::json& value) {
  if (value.is_string()) return value.get<std::string>();
  return Wrong(key, "must be a string");
}

absl::Status ReadScopes(const nlohmann::json& value, TokenEntry& entry) {
  if (!value.is_array()) return Wrong("scopes", "must be a list");
  for (const nlohmann::json& item : value) {
    const auto scope = item.is_string() ? ScopeNamed(item.get<std::string>()) : std::nullopt;
    if (!scope) return Wrong("scopes", "may list generate, train and admin");
    entry.scopes.Add(*scope);
  }
  return absl::OkStatus();
}

absl::Status ReadExpiry(const std::string& text, TokenEntry& entry) {
  absl::Time time;
  std::string error;
  if (!absl::ParseTime(absl::RFC3339_full, text, &time, &error)) {
    return Wrong("expires", "must be a time such as 2027-01-31T00:00:00Z");
  }
  entry.expires = time;
  return absl::OkStatus();
}

absl::Status ReadMember(const std::string& key, const nlohmann::json& value, TokenEntry& entry) {
  if (key == "scopes") return ReadScopes(value, entry);
  ASSIGN_OR_RETURN(std::string text, TextOf(key, value));
  if (key == "expires") return ReadExpiry(text, entry);
  const std::map<std::string_view, std::string*> texts = {{"name", &entry.name},
                                                          {"tenant", &entry.tenant},
                                                          {"salt", &entry.salt},
                                                          {"sha256", &entry.sha256}};
  const auto found = texts.find(key);
  if (found == texts.end()) return absl::InvalidArgumentError(Quoted(key) + " is unknown");
  *found->second = std::move(text);
  return absl::OkStatus();
}

absl::StatusOr<TokenEntry> ParseEntry(std::string_view line) {
  ASSIGN_OR_RETURN(const nlohmann::json json,
                   ParseStrictJsonObject(line, {.max_bytes = kMaxLineBytes, .max_depth = 4}));
  TokenEntry entry;
  for (const auto& [key, value] : json.items()) RETURN_IF_ERROR(ReadMember(key, value, entry));
  RETURN_IF_ERROR(CheckEntry(entry));
  return entry;
}

}  // namespace

bool LooksLikeToken(std::string_view token) { return token.starts_with(kPrefix); }

absl::StatusOr<NewToken> MakeToken(std::string_view name, std::string_view tenant, Scopes scopes,
                                   std::optional<absl::Time> expires) {
  const std::string secret = absl::WebSafeBase64Escape(RandomBytes(kSecretBytes));
  NewToken made;
  made.token = std::string(kPrefix).append(name).append("_").append(secret);
  made.entry = {.name = std::string(name),
                .tenant = std::string(tenant),
                .scopes = scopes,
                .salt = absl::BytesToHexString(RandomBytes(kSaltBytes)),
                .sha256 = {},
                .expires = expires};
  made.entry.sha256 = HashOf(made.entry.salt, made.token);
  RETURN_IF_ERROR(CheckEntry(made.entry));
  return made;
}

std::string EncodeTokenEntry(const TokenEntry& entry) {
  Json json = {{"name", entry.name}, {"tenant", entry.tenant}, {"scopes", Json::array()}};
  for (const Scope scope : entry.scopes.list()) json["scopes"].push_back(NameOf(scope));
  json["salt"] = entry.salt;
  json["sha256"] = entry.sha256;
  if (entry.expires) {
    json["expires"] = absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", *entry.expires, absl::UTCTimeZone());
  }
  return json.dump();
}

absl::StatusOr<TokenFile> TokenFile::Parse(std::string_view text) {
  TokenFile file;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(absl::string_view(text.data(), text.size()), '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line);
    if (line.empty() || line.front() == '#') continue;
    absl::StatusOr<TokenEntry> entry = ParseEntry({line.data(), line.size()});
    if (entry.ok() && file.entries_.contains(entry->name)) {
      entry = Wrong("name", "is that of an earlier line");
    }
    if (!entry.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("line ", number, ": ", entry.status().message()));
    }
    file.entries_.emplace(entry->name, *entry);
  }
  return file;
}

const TokenEntry* TokenFile::Find(std::string_view token) const {
  const auto found = entries_.find(NameIn(token));
  if (found == entries_.end()) return nullptr;
  const TokenEntry& entry = found->second;
  return AreEqual(HashOf(entry.salt, token), entry.sha256) ? &entry : nullptr;
}

}  // namespace denoise
