// The scope that each RPC needs. One table; a test compares it with the services' descriptors.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "server/identity/scope.h"

namespace denoise {

struct MethodScope {
  std::string_view method;  // "/denoised.v1.Models/ListModels"
  Scope scope;
};

std::span<const MethodScope> MethodScopes();

// nullopt for a method that is not in the table: nobody may call it.
std::optional<Scope> ScopeOf(std::string_view method);

}  // namespace denoise
