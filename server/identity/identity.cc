#include "server/identity/identity.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

constexpr size_t kMaxTenantBytes = 128;
constexpr std::string_view kTenants = "tenants/";
constexpr std::string_view kNoTenant = "-";  // which is no valid tenant

bool IsAlphanumeric(char c) { return absl::ascii_isalnum(static_cast<unsigned char>(c)); }

std::string InTenant(std::string_view tenant, std::string_view name) {
  return std::string(kTenants).append(tenant).append("/").append(name);
}

}  // namespace

Identity IdentityWith(std::string tenant, Scopes scopes) {
  return {.tenant = std::move(tenant), .scopes = scopes, .sees_all = scopes.Has(Scope::kAdmin)};
}

Identity Anyone() { return IdentityWith("", {Scope::kAdmin}); }

bool IsValidTenant(std::string_view tenant) {
  constexpr std::string_view kOthers = "-_.:@|+";
  return !tenant.empty() && tenant.size() <= kMaxTenantBytes && IsAlphanumeric(tenant.front()) &&
         std::all_of(tenant.begin(), tenant.end(), [&](char c) {
           return IsAlphanumeric(c) || kOthers.find(c) != std::string_view::npos;
         });
}

std::string FullName(std::string_view tenant, std::string_view name) {
  return tenant.empty() ? std::string(name) : InTenant(tenant, name);
}

OwnedName ParseFullName(std::string_view full_name) {
  if (!full_name.starts_with(kTenants)) return {"", std::string(full_name)};
  const std::string_view rest = full_name.substr(kTenants.size());
  const size_t slash = std::min(rest.find('/'), rest.size());
  const std::string_view tenant = rest.substr(0, slash);
  return {tenant == kNoTenant ? "" : std::string(tenant),
          std::string(rest.substr(std::min(slash + 1, rest.size())))};
}

OwnedName OwnedNameFrom(const Identity& caller, std::string_view name) {
  if (!name.starts_with(kTenants)) return {caller.tenant, std::string(name)};
  return ParseFullName(name);
}

std::string NameFor(const Identity& viewer, std::string_view full_name) {
  const OwnedName owned = ParseFullName(full_name);
  if (owned.tenant == viewer.tenant) return owned.name;
  return InTenant(owned.tenant.empty() ? kNoTenant : owned.tenant, owned.name);
}

}  // namespace denoise
