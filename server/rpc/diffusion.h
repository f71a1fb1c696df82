// One Diffuse call's work, in turns short enough to share threads with others.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/diffusion/noising.h"
#include "denoised/v1/image_generation.pb.h"
#include "server/requests/diffuse_request.h"

namespace denoise {

// Not thread-safe: one turn at a time.
class Diffusion {
 public:
  // `request` is read during turns, and outlives the diffusion.
  Diffusion(ResolvedDiffusion resolved, const denoised::v1::DiffuseRequest* request,
            int64_t max_picture_pixels, absl::Time arrival);

  bool done() const { return done_; }
  int frames() const { return frames_; }  // made so far

  // The next bit of the work, one picture's at most; an event where that makes one, stamped with
  // `now`. InvalidArgument, before any event, for a picture that cannot be read. Requires !done().
  absl::StatusOr<std::optional<denoised::v1::DiffuseEvent>> Turn(absl::Time now);

 private:
  absl::Status ReadPicture();
  denoised::v1::DiffuseEvent Accept();
  denoised::v1::DiffuseEvent Finish(absl::Time now);
  absl::StatusOr<std::optional<denoised::v1::DiffuseEvent>> Diffuse();
  absl::StatusOr<denoised::v1::DiffuseEvent> Frame(const at::Tensor& x) const;
  int CountPictures() const { return request_->pictures_size(); }

  const ResolvedDiffusion resolved_;
  const denoised::v1::DiffuseRequest* const request_;
  const int64_t max_picture_pixels_;
  const absl::Time arrival_;
  const ForwardProcess process_;
  const std::vector<NoisingStop> stops_;

  std::vector<at::Tensor> pictures_;  // x_0, as far as they are read
  std::vector<Noising> noisings_;     // one for each
  // All pictures pass one stop before any goes on to the next.
  int picture_ = 0;
  size_t stop_ = 0;  // stops passed; the pictures themselves are shown before the first
  int level_ = 0;    // into the levels of `accepted`
  bool shown_originals_ = false;
  bool accepted_ = false;
  bool done_ = false;
  int frames_ = 0;
  int64_t sequence_ = 0;
};

}  // namespace denoise
