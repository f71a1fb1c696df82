// The compressions that an upload may come in. Internal to core/data.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include "absl/status/statusor.h"

namespace denoise {

// Every decoder takes what its own tool writes: several members one after the other are one stream.
// Memory is bounded whatever the stream asks for. Not thread-safe.
class Decoder {
 public:
  struct Step {
    size_t consumed = 0;
    size_t produced = 0;
  };

  virtual ~Decoder() = default;

  // Goes on with `input`, of which as much is consumed as `output` has room for. `is_last`: nothing
  // follows it. InvalidArgument for what is malformed.
  virtual absl::StatusOr<Step> Decode(std::string_view input, bool is_last,
                                      std::span<char> output) = 0;

  // Whether the stream may end here.
  virtual bool IsComplete() const = 0;
};

inline constexpr std::string_view kGzipMagic = "\x1f\x8b";
inline constexpr std::string_view kXzMagic{"\xfd\x37zXZ\0", 6};
inline constexpr std::string_view kZstdMagic = "\x28\xb5\x2f\xfd";

// ResourceExhausted where memory runs out, here and in Decode.
absl::StatusOr<std::unique_ptr<Decoder>> MakeGzipDecoder();
absl::StatusOr<std::unique_ptr<Decoder>> MakeXzDecoder();
absl::StatusOr<std::unique_ptr<Decoder>> MakeZstdDecoder();

// Hands on what it gets.
std::unique_ptr<Decoder> MakeStoredDecoder();

}  // namespace denoise
