// The stream of WatchGeneration.
#include <memory>
#include <utility>

#include "server/rpc/generation_source.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

class WatchSource final : public GenerationSource {
 public:
  WatchSource(const GenerationEnvironment& environment, const v1::WatchGenerationRequest& request,
              Call call)
      : GenerationSource(environment, std::move(call)), request_(request) {}

 protected:
  absl::StatusOr<std::unique_ptr<Generations::Reader>> Attach() override {
    return environment_.generations->Watch(request_, ToCaller(call_));
  }

  const char* event_of_end() const override { return "watch finished"; }

 private:
  const v1::WatchGenerationRequest& request_;
};

}  // namespace

std::unique_ptr<GenerateEventSource> MakeWatchSource(const GenerationEnvironment& environment,
                                                     const v1::WatchGenerationRequest& request,
                                                     Call call) {
  return std::make_unique<WatchSource>(environment, request, std::move(call));
}

}  // namespace denoise
