// What a generation made and where it is.
#pragma once

#include <string>

#include "client/cli/commands/generation_recorder.h"
#include "denoised/v1/image_generation.pb.h"

namespace denoise {

// For people: a sentence, then a line for each kind of file. No final newline.
std::string SummaryText(const GenerationRecorder& recorder, const denoised::v1::Finished& finished);

}  // namespace denoise
