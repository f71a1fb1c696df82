// Update rules written like in the papers, compiled to rows of a SmallMatrix.
//
// A LinearForm is a weighted sum of what is available after a network evaluation: the trajectory's
// slots, the predicted x0 and the network's output. `alpha * X0() + sigma * Output()` is one, and
// so is the new value of each slot.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "core/base/check.h"
#include "core/sampling/samplers/plan.h"

namespace denoise {

class LinearForm {
 public:
  LinearForm() = default;  // zero

  LinearForm& operator+=(const LinearForm& other) {
    for (size_t i = 0; i < weights_.size(); ++i) weights_[i] += other.weights_[i];
    return *this;
  }
  LinearForm& operator*=(double factor) {
    for (double& weight : weights_) weight *= factor;
    return *this;
  }

  friend LinearForm operator+(LinearForm a, const LinearForm& b) { return a += b; }
  friend LinearForm operator-(LinearForm a, LinearForm b) { return a += (b *= -1); }
  friend LinearForm operator*(double factor, LinearForm form) { return form *= factor; }
  friend LinearForm operator/(LinearForm form, double divisor) { return form *= 1 / divisor; }

 private:
  friend LinearForm Slot(int index);
  friend LinearForm X0();
  friend LinearForm Output();
  friend SmallMatrix UpdateMatrix(const std::vector<LinearForm>& slots);

  static constexpr int kX0 = kMaxSlots;
  static constexpr int kOutput = kMaxSlots + 1;

  explicit LinearForm(int index) { weights_[index] = 1; }

  // An infinite coefficient turns a weight of 0 into NaN.
  bool NamesSlotsBelow(int num_slots) const {
    return std::all_of(weights_.begin() + num_slots, weights_.begin() + kMaxSlots,
                       [](double weight) { return weight == 0 || std::isnan(weight); });
  }

  std::array<double, kMaxSlots + 2> weights_{};  // slots, x0, output
};

inline LinearForm Slot(int index) { return LinearForm(index); }
inline LinearForm X0() { return LinearForm(LinearForm::kX0); }
inline LinearForm Output() { return LinearForm(LinearForm::kOutput); }

// The update that sets slot k to `slots[k]`. Requires the forms to use only existing slots.
inline SmallMatrix UpdateMatrix(const std::vector<LinearForm>& slots) {
  const int num_slots = static_cast<int>(slots.size());
  SmallMatrix update(num_slots, num_slots + 2);
  for (int row = 0; row < num_slots; ++row) {
    DENOISE_DCHECK(slots[row].NamesSlotsBelow(num_slots));
    for (int slot = 0; slot < num_slots; ++slot) update(row, slot) = slots[row].weights_[slot];
    update(row, num_slots) = slots[row].weights_[LinearForm::kX0];
    update(row, num_slots + 1) = slots[row].weights_[LinearForm::kOutput];
  }
  return update;
}

}  // namespace denoise
