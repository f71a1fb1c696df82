#include "server/connections/http2_guard.h"

#include "tests/fuzz/fuzz_target.h"

namespace denoise {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes = AsText(data, size);
  const absl::Time now = absl::UnixEpoch();
  const Http2Guard::Limits limits = {.header_block_bytes = 256,
                                     .resets = {.burst = 4, .per_second = 1},
                                     .control_frames = {.burst = 4, .per_second = 1}};
  Http2Guard::AddressBudget of_whole({}, now), of_pieces({}, now);
  Http2Guard whole(limits, now, &of_whole), pieces(limits, now, &of_pieces);
  const absl::Status status = whole.Inspect(bytes, now);
  absl::Status in_pieces;
  for (size_t i = 0; i < bytes.size() && in_pieces.ok(); ++i)
    in_pieces = pieces.Inspect(bytes.substr(i, 1), now);
  Require(status == in_pieces, "it makes no difference where the bytes are split");
  Require(status.ok() || absl::IsInvalidArgument(status) || absl::IsResourceExhausted(status),
          "a refusal is INVALID_ARGUMENT or RESOURCE_EXHAUSTED");
  return 0;
}

}  // namespace denoise
