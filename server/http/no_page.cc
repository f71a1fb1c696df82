// Of a server that is built without the page (-DDENOISE_PAGE=OFF).
#include "server/http/static_files.h"

namespace denoise {

const std::vector<StaticFile>& PageFiles() {
  static const auto* const none = new std::vector<StaticFile>();
  return *none;
}

}  // namespace denoise
