// Stands in for terminal_picture_chafa.cc where the chafa library is not installed.
#include "client/cli/display/terminal.h"

namespace denoise {

std::unique_ptr<TerminalPicture> TerminalPicture::Detect() { return nullptr; }

}  // namespace denoise
