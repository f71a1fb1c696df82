// Models that work on pixels: a UNet2DModel and its scheduler (DDPMPipeline and its kin).
#pragma once

#include <memory>

#include "core/io/parsed_model.h"
#include "core/pipeline/parsed_pipeline.h"

namespace denoise {

PipelineDescription DescribePixelPipeline(const ModelDescription& model);

std::shared_ptr<const PipelineParts> PixelParts(ParsedModel model);

}  // namespace denoise
