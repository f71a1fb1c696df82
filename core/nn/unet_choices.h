// The choices that the configurations of UNets have in common.
#pragma once

namespace denoise {

enum class Activation { kSilu, kMish, kGelu, kRelu };
enum class TimeEmbeddingType { kPositional, kFourier, kLearned };
enum class ClassEmbedding { kNone, kTable, kTimestep, kIdentity };
// How a resnet block uses the time embedding: an added shift, or a scale and a shift after its
// second norm.
enum class TimeShift { kDefault, kScaleShift };
// How a level changes resolution: by a convolution that is strided or follows an upsampling, or by
// a resnet block around a pooling or upsampling.
enum class Resampling { kConv, kResnet };

}  // namespace denoise
