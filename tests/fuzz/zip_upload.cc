#include "tests/fuzz/upload_promises.h"

namespace denoise {

// Whatever it begins with, it is read as a zip archive.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(AsText(data, size));
  if (bytes.size() >= 4) bytes.replace(0, 4, "PK\x03\x04");
  CheckUpload(UploadFormat::kTar, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(),
              /*are_pictures=*/false);
  return 0;
}

}  // namespace denoise
