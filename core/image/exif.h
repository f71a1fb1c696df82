// How a camera was held: the orientation in the Exif data of a picture's file. Pure functions of
// bytes that may be anything. Internal to core/image.
//
// Exif 2.32 (CIPA DC-008), section 4.6.4: tag 0x0112 of the first directory of a TIFF structure.
#pragma once

#include <optional>
#include <string_view>

#include "core/image/image.h"

namespace denoise {

// 1 (as stored) to 8. 1 where the file has no such tag, or anything about it is malformed: then
// viewers show the picture as it is stored, too. Of a JPEG, the content of an APP1 segment; nullopt
// if that is not Exif data but something else, such as XMP.
std::optional<int> SegmentOrientation(std::string_view app1);
int PngOrientation(std::string_view file);
int WebpOrientation(std::string_view file);

// The picture turned and mirrored so that it is upright. Requires an orientation from 1 to 8.
Image Upright(Image image, int orientation);

}  // namespace denoise
