#include "core/image/exif.h"

#include <algorithm>
#include <string>

#include "tests/fuzz/fuzz_target.h"

namespace denoise {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string file(AsText(data, size));  // its own allocation: sanitizers see reads beyond it
  for (const int orientation :
       {SegmentOrientation(file).value_or(1), PngOrientation(file), WebpOrientation(file)}) {
    Require(orientation >= 1 && orientation <= 8, "an orientation is one of eight");
    const Image image{3, 2, 1, {1, 2, 3, 4, 5, 6}};
    Image upright = Upright(image, orientation);
    Require(upright.width * upright.height == 6, "a picture keeps its size");
    std::sort(upright.pixels.begin(), upright.pixels.end());
    Require(upright.pixels == image.pixels, "a picture keeps its pixels");
  }
  return 0;
}

}  // namespace denoise
