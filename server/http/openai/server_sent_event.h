// An event of text/event-stream (html.spec.whatwg.org, section 9.2).
#pragma once

#include <string>
#include <string_view>

namespace denoise::openai {

// `name` is one line. `data` may have several, which the reader gets joined by newlines.
std::string ServerSentEvent(std::string_view name, std::string_view data);

}  // namespace denoise::openai
