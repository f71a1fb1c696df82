// A generation whose servers drain, as one stream: what it has said, and how it continues.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "denoised/v1/image_generation.pb.h"

namespace denoise {

// Belongs to one stream; not thread-safe.
class HandoverFollower {
 public:
  // How often one handover is presented. gRPC's retries of each call come on top.
  static constexpr int kMaxAttempts = 5;

  // Whether `event` is news to the stream's reader. A server that continues says `accepted` again;
  // one that continues in place of another server, which was lost, also repeats images. Keeps the
  // numbers of events rising, and takes the token of a handover; that of a pause is the reader's.
  bool IsNews(denoised::v1::GenerateEvent& event);

  // The request that continues the generation after a call that ended with `status`; nullopt if
  // nothing does, as after a pause. A server that closes its connections cancels what arrives at that moment, so a
  // token that was presented and got no answer is presented again, also after CANCELLED. After an
  // answer that means what it says: somebody has cancelled the generation.
  std::optional<denoised::v1::GenerateRequest> Continue(const absl::Status& status);

 private:
  std::string token_;           // the latest; empty before the first
  int attempts_ = 0;            // to present it
  bool is_unanswered_ = false;  // it was presented, and no event has come since
  int64_t last_sequence_ = -1;
  std::set<int> images_;  // that the reader has
};

}  // namespace denoise
