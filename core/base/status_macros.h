// Early return for functions that return absl::Status or absl::StatusOr.
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Returns the status of `expression` from the enclosing function unless it is OK.
#define RETURN_IF_ERROR(expression)                                         \
  do {                                                                      \
    if (absl::Status _status = (expression); !_status.ok()) return _status; \
  } while (false)

// ASSIGN_OR_RETURN(auto plan, CompilePlan(...)) assigns the value or returns the error.
#define ASSIGN_OR_RETURN(declaration, expression) \
  DENOISE_ASSIGN_OR_RETURN_(DENOISE_CONCAT_(_status_or_, __LINE__), declaration, expression)

#define DENOISE_ASSIGN_OR_RETURN_(temporary, declaration, expression) \
  auto temporary = (expression);                                      \
  if (!temporary.ok()) return std::move(temporary).status();          \
  declaration = *std::move(temporary)

#define DENOISE_CONCAT_(a, b) DENOISE_CONCAT_INNER_(a, b)
#define DENOISE_CONCAT_INNER_(a, b) a##b
