// The inputs of a network call besides x and the timesteps: classes, texts, sizes.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "core/nn/adapter.h"

namespace denoise {

struct Prompt;  // core/pipeline/prompt.h

// The inputs of one row. Made once, then shared by every evaluation of an image and by all images
// with the same inputs. A network reads the fields that its NetworkSpec names and ignores the rest.
// Tensors are float32, and on the network's device once a trajectory holds them.
struct Condition {
  std::optional<int64_t> class_label;
  std::shared_ptr<const Prompt> prompt;  // what text_states and pooled_text are encoded from
  at::Tensor text_states;                // [tokens, text_width]: the text, token by token
  at::Tensor pooled_text;                // [pooled_text_width]: the text as one vector
  at::Tensor time_ids;        // [num_time_ids]: sizes and crop, as SDXL was trained with (Podell et
                              // al. 2023, section 2.2), or an aesthetic score
  at::Tensor guidance_scale;  // [1]: a scale that was distilled into the network (Meng et al. 2023)
  at::Tensor channels;        // [condition_channels, H, W], appended to the channels of x: a mask
                              // and the masked picture
  AppliedAdapters adapters;   // of the network and of the encoders of its text
};
using SharedCondition = std::shared_ptr<const Condition>;

// A row that is told nothing.
const SharedCondition& NoCondition();
SharedCondition ClassCondition(int64_t class_label);

// The conditions of a batch of B rows, field by field. A field that the rows do not have is
// undefined.
struct Conditions {
  at::Tensor class_labels;  // [B] int64
  // [B, tokens, text_width], as if all texts had the tokens of the longest; a row reads only its
  // own. The network must not let padding influence the result.
  at::Tensor text_states;
  std::vector<int64_t> text_lengths;  // B numbers of tokens; empty: all are as long as text_states
  at::Tensor pooled_text;             // [B, pooled_text_width]
  at::Tensor time_ids;                // [B, num_time_ids]
  at::Tensor guidance_scales;         // [B]
  at::Tensor channels;                // [B, condition_channels, H, W]
  std::vector<AppliedAdapters> adapters;  // B lists; empty: no row has any

  // Rows [first, first + count).
  Conditions Narrow(int64_t first, int64_t count) const;
  // Overwrites the tensors in place with those of `other`, which has the same shapes. Labels and
  // adapters stay.
  void CopyFrom(const Conditions& other);
};

// The conditions of `rows`, which have the same tensors. Labels are not stacked: they are numbers
// of the host, which its caller uploads.
Conditions StackConditions(const std::vector<SharedCondition>& rows);

}  // namespace denoise
