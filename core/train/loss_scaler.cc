#include "core/train/loss_scaler.h"

namespace denoise {
namespace {

constexpr double kFirstScale = 65536;
constexpr int64_t kStepsToDouble = 2000;

}  // namespace

LossScaler::LossScaler(TrainingPrecision precision)
    : dynamic_(precision == TrainingPrecision::kFloat16) {
  if (dynamic_) state_.scale = kFirstScale;
}

void LossScaler::Update(bool finite) {
  if (!dynamic_) return;
  if (!finite) {
    state_ = {.scale = state_.scale / 2, .finite_steps = 0};
  } else if (++state_.finite_steps == kStepsToDouble) {
    state_ = {.scale = state_.scale * 2, .finite_steps = 0};
  }
}

}  // namespace denoise
