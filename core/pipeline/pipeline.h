// What a checkpoint folder is, ready to run: text encoders, network and codec. A family (one of
// Stable Diffusion, a pixel model) determines how these parts are filled in. Code that runs a
// pipeline does not know the family.
#pragma once

#include <memory>
#include <vector>

#include "core/codec/codec.h"
#include "core/codec/latent_projection.h"
#include "core/nn/condition.h"
#include "core/nn/network.h"

namespace denoise {

// Turns prompts into what a network is told. Immutable but for its cache, and thread-safe. Has one
// device and one dtype.
class PromptEncoder {
 public:
  virtual ~PromptEncoder() = default;

  // `conditions` hold prompts. Returns them with text_states, and what else the network must be
  // told, on the network's device; all other fields are kept. Texts are encoded together, and those
  // that were encoded lately are remembered. On the CPU a result does not depend on the others, bit
  // for bit. Throws c10::Error if the device fails.
  virtual std::vector<SharedCondition> Encode(
      const std::vector<SharedCondition>& conditions) const = 0;

  // The same encoder for a network on `device` in `dtype`, computing there, too, unless it computes
  // on the CPU for a network elsewhere. Throws c10::Error if there is no such device or it is out
  // of memory.
  virtual std::shared_ptr<const PromptEncoder> To(at::Device device,
                                                  at::ScalarType dtype) const = 0;
};

// One model on one device. Immutable and thread-safe.
struct Pipeline {
  std::shared_ptr<const Network> network;
  std::shared_ptr<const Codec> codec;            // never null; IdentityCodec for pixel models
  std::shared_ptr<const PromptEncoder> prompts;  // null where the network is told no text
  // Shows x as a picture of its own size; null where x is a picture.
  std::shared_ptr<const LatentProjection> preview;
};

// A network that works on pixels.
std::shared_ptr<const Pipeline> PixelPipeline(std::shared_ptr<const Network> network);

// The same model once per worker of the engine, in the order of its devices. Its address is the
// identity of a batch: requests that hold the same replicas share network calls.
using PipelineReplicas = std::vector<std::shared_ptr<const Pipeline>>;

}  // namespace denoise
