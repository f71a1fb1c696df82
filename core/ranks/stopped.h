#pragma once

#include <functional>

namespace denoise {

// Whether to give up waiting. Called now and then by the thread that waits.
using Stopped = std::function<bool()>;

}  // namespace denoise
