#include "tests/fuzz/upload_promises.h"

namespace denoise {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  CheckUpload(UploadFormat::kCifar10, data, size, /*are_pictures=*/true);
  return 0;
}

}  // namespace denoise
