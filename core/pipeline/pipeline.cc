#include "core/pipeline/pipeline.h"

#include <utility>

#include "core/codec/identity_codec.h"

namespace denoise {

std::shared_ptr<const Pipeline> PixelPipeline(std::shared_ptr<const Network> network) {
  auto codec = IdentityCodec(network->spec().sample.channels)->To(network->device(), at::kFloat);
  return std::make_shared<const Pipeline>(
      Pipeline{.network = std::move(network), .codec = std::move(codec)});
}

}  // namespace denoise
