// A count of objects that tests can read.
#pragma once

#include <atomic>

#include "core/base/object_count.h"

namespace denoise {

class ObjectTally : public ObjectCount {
 public:
  void OnCreated() override { ++created; }
  void OnDestroyed() override { ++destroyed; }

  std::atomic<int> created = 0, destroyed = 0;
};

}  // namespace denoise
