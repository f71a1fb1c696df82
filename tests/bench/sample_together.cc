#include "tests/bench/sample_together.h"

#include <c10/core/InferenceMode.h>

#include <deque>

#include "core/diffusion/denoising_loop.h"

namespace denoise {

void SampleTogether(const Network& network, std::vector<Trajectory>& trajectories, int batch_size,
                    const std::function<void(size_t done, size_t total)>& progress) {
  const c10::InferenceMode inference;
  DenoisingLoop loop(network, MakeDeviceRuntime(network.device()));
  std::deque<Trajectory*> waiting;
  size_t done = 0, total = 0;
  for (Trajectory& trajectory : trajectories) {
    total += trajectory.plan().evaluations.size();
    waiting.push_back(&trajectory);
  }
  while (!waiting.empty()) {
    std::vector<Trajectory*> running;
    while (!waiting.empty() && running.size() < static_cast<size_t>(batch_size)) {
      running.push_back(waiting.front());
      waiting.pop_front();
    }
    loop.Evaluate(running);
    progress(done += running.size(), total);
    for (Trajectory* trajectory : running) {
      if (!trajectory->done()) waiting.push_back(trajectory);
    }
  }
}

}  // namespace denoise
