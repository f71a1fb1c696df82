// Events as lines for scripts.
#pragma once

#include <string>

#include "client/cli/commands/output_folder.h"
#include "denoised/v1/image_generation.pb.h"
#include "denoised/v1/training.pb.h"

namespace denoise {

// One line of JSON without its newline: protobuf's JSON mapping with the names of the .proto file
// (so that 64-bit numbers are strings), every field present. Image bytes are not inlined: in their
// place stand "path" and "size_bytes" of the file they were written to.
std::string EventJson(const denoised::v1::GenerateEvent& event, const WrittenFile& file);
std::string EventJson(const denoised::v1::DiffuseEvent& event, const WrittenFile& file);
// Of a picture that was not written only the size is told.
std::string EventJson(const denoised::v1::TrainingEvent& event, const WrittenFile& file);

}  // namespace denoise
