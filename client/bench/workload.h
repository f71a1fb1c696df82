// Where the requests of a benchmark come from: a mix, or a trace that was recorded.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/bench/mix.h"
#include "client/bench/trace.h"
#include "denoised/v1/models.pb.h"

namespace denoise {

class Workload {
 public:
  Workload(Mix mix, const TraceLimits& limits, uint64_t seed);
  explicit Workload(Trace recorded);

  // Whether any request belongs to a tenant.
  bool HasTenants() const;
  // Sets the deadline of requests that have none.
  void SetDefaultDeadline(absl::Duration deadline);

  // Looks the models up, by name, or the only one where the name is empty, and fills in what
  // requests need of them. Later calls have no effect.
  using FindModel = std::function<absl::StatusOr<denoised::v1::Model>(const std::string& name)>;
  absl::Status Resolve(const FindModel& find_model);

  // Some of the requests; the times of their arrival mean nothing.
  absl::StatusOr<Trace> Sample() const;
  // All of them, arriving at `rate` a second. InvalidArgument if that is impossible.
  absl::StatusOr<Trace> AtRate(double rate) const;

 private:
  std::variant<Mix, Trace> source_;
  const TraceLimits limits_;
  const uint64_t seed_ = 0;
  bool resolved_ = false;
};

}  // namespace denoise
