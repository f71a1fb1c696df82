#include "server/http/openai/server_sent_event.h"

#include "core/base/check.h"

namespace denoise::openai {

std::string ServerSentEvent(std::string_view name, std::string_view data) {
  constexpr std::string_view kLineEnds = "\r\n";
  DENOISE_DCHECK(name.find_first_of(kLineEnds) == std::string_view::npos);
  std::string event;
  event.reserve(name.size() + data.size() + 32);
  event.append("event: ").append(name).append("\n");
  while (true) {
    const size_t end = data.find_first_of(kLineEnds);
    event.append("data: ").append(data.substr(0, end)).append("\n");
    if (end == std::string_view::npos) return event.append("\n");
    const bool is_pair = data.substr(end).starts_with("\r\n");
    data.remove_prefix(end + (is_pair ? 2 : 1));
  }
}

}  // namespace denoise::openai
