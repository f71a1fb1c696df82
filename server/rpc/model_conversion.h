// Models on the wire.
#pragma once

#include "denoised/v1/models.pb.h"
#include "server/models/model.h"

namespace denoise {

denoised::v1::Model ModelToProto(const Model& model);

}  // namespace denoise
