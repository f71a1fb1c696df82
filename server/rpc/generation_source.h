// What the streams of Generate and WatchGeneration share.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/generations/generations.h"
#include "server/rpc/generation_stream.h"

namespace denoise {

// The call as a reader of a generation.
Caller ToCaller(const Call& call, bool takes_handover = false);

// Attaches to a generation, then sends what its log says. The derived classes say which one.
class GenerationSource : public GenerateEventSource {
 public:
  // What the stream has written so far.
  struct Totals {
    int images = 0;
    int frames_sent = 0;
    int frames_too_large = 0;
  };

  GenerationSource(const GenerationEnvironment& environment, Call call)
      : environment_(environment), call_(std::move(call)) {}

  absl::Status Start() override;  // attaches if it can be done at once
  absl::StatusOr<Outcome> Next() override;
  // The call succeeded if `finished` was already on its way.
  std::optional<absl::Status> OnCallerGone() override;
  void OnEnd(const absl::Status& status) override;

 protected:
  // Called again after every wake-up. nullptr: still waiting.
  virtual absl::StatusOr<std::unique_ptr<Generations::Reader>> Attach() = 0;
  virtual void OnFirstFrame() {}
  // Whether the caller continues on another server what this one hands over when it drains.
  virtual bool takes_handover() const { return false; }

  // What the log says of the call's end: "request finished", and the model that was asked for.
  virtual const char* event_of_end() const = 0;
  virtual std::string model() const { return ""; }

  absl::Duration Elapsed() const { return environment_.calls.clock->Now() - call_.arrival; }

  const GenerationEnvironment& environment_;
  const Call call_;
  std::unique_ptr<Generations::Reader> generation_reader_;

 private:
  void Log(const absl::Status& status) const;
  void Record() const;
  int FramesDropped() const;
  absl::StatusOr<Outcome> MakeOutcome(GenerationLog::Event event);
  // LibTorch throws if a sample is malformed, and anything may throw if memory runs out.
  absl::StatusOr<denoised::v1::GenerateEvent> Make(GenerationLog::Event event) const;
  // Other readers would fail in the same way, so this one leaves as if its caller had gone.
  absl::StatusOr<Outcome> EndWithFailure();
  bool IsTooLarge(const denoised::v1::GenerateEvent& event) const;
  void Count(const denoised::v1::GenerateEvent& event);

  Totals totals_;
  std::optional<absl::Duration> first_frame_;  // from the call's arrival to the first that was sent
  absl::Status failure_;                       // an event could not be made
  bool finished_sent_ = false;
  bool handed_over_ = false;  // to a caller who continues on another server
};

}  // namespace denoise
