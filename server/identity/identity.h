// Who makes a call, and the names that resources have for them.
//
// A tenant owns what it makes. Two tenants may each have a "datasets/emoji". Inside the server they
// are told apart by their full names: "datasets/emoji" belongs to the tenant "" (a server without
// identity has no other), and "tenants/acme/datasets/emoji" to acme. Callers name their own
// resources without the tenant; those who see everything name those of others in full.
#pragma once

#include <string>
#include <string_view>

#include "server/identity/scope.h"

namespace denoise {

struct Identity {
  std::string tenant;
  Scopes scopes;
  bool sees_all = false;  // the resources of every tenant

  bool Sees(std::string_view owner) const { return sees_all || owner == tenant; }
};

// Of credentials with these scopes.
Identity IdentityWith(std::string tenant, Scopes scopes);

// Whoever calls a server that asks for no credentials: the tenant "", who may do and see everything.
Identity Anyone();

// 1 to 128 letters, digits and "-_.:@|+", the first a letter or digit.
bool IsValidTenant(std::string_view tenant);
inline constexpr char kTenantRule[] =
    "must be 1 to 128 letters, digits and -_.:@|+, and begin with a letter or digit";

// "tenants/acme/datasets/emoji" of acme's "datasets/emoji".
std::string FullName(std::string_view tenant, std::string_view name);

// A resource's name, apart from its tenant.
struct OwnedName {
  std::string tenant;
  std::string name;  // "datasets/emoji"

  std::string full() const { return FullName(tenant, name); }
};
OwnedName ParseFullName(std::string_view full_name);

// What `caller` means by `name`. It may be a resource that the caller does not see.
OwnedName OwnedNameFrom(const Identity& caller, std::string_view name);
// What `viewer` calls a resource. One of the tenant "" is "tenants/-/..." to others.
std::string NameFor(const Identity& viewer, std::string_view full_name);

}  // namespace denoise
