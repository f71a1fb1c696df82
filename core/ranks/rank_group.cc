#include "core/ranks/rank_group.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/tensor.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/comm.hpp>
#include <torch/csrc/distributed/c10d/reducer.hpp>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error_details.h"
#include "core/ranks/c10d_errors.h"

namespace denoise {
namespace {

// Gradients of this many bytes are summed together: c10d's own choice. The first bucket is smaller,
// so that communication begins early.
constexpr size_t kBucketBytes = c10d::kDefaultBucketBytesCap;
constexpr size_t kFirstBucketBytes = c10d::kDefaultFirstBucketBytes;

// c10d records each operation and its stack for debugging, once for the process and with a race
// where several threads begin. It reads this when the first operation starts; threads come later.
[[maybe_unused]] const int kWithoutFlightRecorder =
    setenv("TORCH_FR_BUFFER_SIZE", "0", /*overwrite=*/0);

absl::Status RankLost(const std::string& detail) {
  return WithErrorReason(absl::UnavailableError(absl::StrCat("a rank was lost: ", detail)),
                         kRankLostReason);
}

// Runs what throws c10d's, Gloo's or a socket's exceptions.
template <class Function>
absl::Status Communicate(const Function& function) {
  try {
    function();
    return absl::OkStatus();
  } catch (const std::exception& error) {
    return RankLost(OneLine(error));
  }
}

std::chrono::milliseconds ToChrono(absl::Duration duration) {
  return std::chrono::milliseconds(absl::ToInt64Milliseconds(duration));
}

// Sums a bucket; without a hook, the reducer would compute the mean over the ranks.
class SumHook : public c10d::CppCommHookInterface<c10::intrusive_ptr<c10d::ProcessGroup>> {
 public:
  using CppCommHookInterface::CppCommHookInterface;
  c10::intrusive_ptr<c10::ivalue::Future> runHook(c10d::GradBucket& bucket) override {
    std::vector<at::Tensor> tensors = {bucket.getBufferRef()};
    return state_->allreduce(tensors)->getFuture();
  }
};

// Those of `weights` that `loss` depends on, about in the order in which a backward pass reaches them.
std::vector<at::Tensor> InOrderOfUse(const at::Tensor& loss,
                                     const std::vector<at::Tensor>& weights) {
  std::unordered_set<const c10::TensorImpl*> wanted;
  for (const at::Tensor& weight : weights) wanted.insert(weight.unsafeGetTensorImpl());
  std::vector<at::Tensor> used;
  std::deque<torch::autograd::Node*> nodes = {loss.grad_fn().get()};
  std::unordered_set<const torch::autograd::Node*> seen(nodes.begin(), nodes.end());
  for (; !nodes.empty(); nodes.pop_front()) {
    torch::autograd::Node* const node = nodes.front();
    if (const auto* leaf = dynamic_cast<const torch::autograd::AccumulateGrad*>(node)) {
      if (wanted.contains(leaf->variable.unsafeGetTensorImpl())) used.push_back(leaf->variable);
    }
    for (const torch::autograd::Edge& edge : node->next_edges()) {
      if (edge.function && seen.insert(edge.function.get()).second) {
        nodes.push_back(edge.function.get());
      }
    }
  }
  return used;
}

// Later versions of LibTorch have three more parameters, which stand for what earlier ones do.
template <class Reducer>
std::unique_ptr<Reducer> MakeReducer(const std::vector<at::Tensor>& weights,
                                     const c10::intrusive_ptr<c10d::ProcessGroup>& group) {
  using Names = std::unordered_map<size_t, std::string>;
  using Buckets = std::vector<std::vector<size_t>>;
  constexpr bool kHasMore =
      std::is_constructible_v<Reducer, std::vector<at::Tensor>, Buckets,
                              c10::intrusive_ptr<c10d::ProcessGroup>, std::vector<bool>, int64_t,
                              bool, bool, Names, int64_t, bool, bool, std::vector<int64_t>>;
  const Buckets buckets = std::get<0>(
      c10d::compute_bucket_assignment_by_size(weights, {kFirstBucketBytes, kBucketBytes}));
  const std::vector<bool> expect_sparse_gradients(weights.size(), false);
  const bool find_unused_parameters = false, gradient_as_bucket_view = true;
  const auto make = [&](const auto&... more) {
    return std::make_unique<Reducer>(weights, buckets, group, expect_sparse_gradients, kBucketBytes,
                                     find_unused_parameters, gradient_as_bucket_view, Names(),
                                     kFirstBucketBytes, more...);
  };
  if constexpr (kHasMore) {
    return make(/*skip_all_reduce_unused_params=*/false, /*use_python_reducer=*/false,
                /*bucket_bytes_cap_list=*/std::vector<int64_t>());
  } else {
    return make();
  }
}

class ReducedGradients : public GradientSum {
 public:
  ReducedGradients(std::vector<at::Tensor> weights, c10::intrusive_ptr<c10d::ProcessGroup> group)
      : weights_(std::move(weights)), group_(std::move(group)) {}

  // After the first step the reducer knows in what order gradients come, and fills its buckets so.
  void BeginStep() override {
    if (reducer_) reducer_->rebuild_buckets();
  }

  void BeforeLastBackward(const at::Tensor& loss) override {
    if (!reducer_) {
      reducer_ = MakeReducer<c10d::Reducer>(InOrderOfUse(loss, weights_), group_);
      reducer_->register_comm_hook(std::make_unique<SumHook>(group_));
    }
    reducer_->prepare_for_backward({});
  }

 private:
  const std::vector<at::Tensor> weights_;
  const c10::intrusive_ptr<c10d::ProcessGroup> group_;
  std::unique_ptr<c10d::Reducer> reducer_;  // from the end of the first step on
};

at::Tensor BytesOf(std::string& text) {
  return at::from_blob(text.data(), {static_cast<int64_t>(text.size())}, at::kByte);
}

}  // namespace

absl::StatusOr<std::unique_ptr<RankGroup>> RankGroup::Form(c10::intrusive_ptr<c10d::Store> store,
                                                           const Options& options) {
  c10::intrusive_ptr<c10d::ProcessGroup> group;
  const absl::Status formed = Communicate([&] {
    const auto gloo = c10d::ProcessGroupGloo::Options::create(ToChrono(options.timeout));
    gloo->devices.push_back(
        c10d::ProcessGroupGloo::createDeviceForHostname(options.address, /*lazyInit=*/false));
    const auto backend =
        c10::make_intrusive<c10d::ProcessGroupGloo>(store, options.rank, options.size, gloo);
    group = c10::make_intrusive<c10d::ProcessGroup>(store, options.rank, options.size);
    for (const at::DeviceType device : {at::kCPU, at::kCUDA}) {
      group->setBackend(device, c10d::ProcessGroup::BackendType::GLOO, backend);
    }
    group->setDefaultBackend(c10d::ProcessGroup::BackendType::GLOO);
  });
  if (!formed.ok()) return formed;
  return std::unique_ptr<RankGroup>(new RankGroup(options, std::move(group)));
}

RankGroup::RankGroup(const Options& options, c10::intrusive_ptr<c10d::ProcessGroup> group)
    : options_(options), group_(std::move(group)) {}

RankGroup::~RankGroup() = default;

RankGroup::Share RankGroup::ShareOf(int rank, int batch_size) const {
  const auto boundary = [&](int64_t before) {
    return static_cast<int>(before * batch_size / size());
  };
  return {boundary(rank), boundary(rank + 1)};
}

absl::Status RankGroup::Broadcast(std::vector<at::Tensor>& tensors) {
  return Communicate([&] {
    for (at::Tensor& tensor : tensors) {
      std::vector<at::Tensor> one = {tensor};
      group_->broadcast(one)->wait();
    }
  });
}

absl::Status RankGroup::Broadcast(std::vector<std::string>& texts) {
  return Communicate([&] {
    const auto broadcast = [&](const at::Tensor& tensor) {
      std::vector<at::Tensor> one = {tensor};
      group_->broadcast(one)->wait();
    };
    at::Tensor count = at::tensor({static_cast<int64_t>(texts.size())}, at::kLong);
    broadcast(count);
    texts.resize(static_cast<size_t>(count.item<int64_t>()));
    at::Tensor sizes = at::empty({count.item<int64_t>()}, at::kLong);
    for (size_t i = 0; i < texts.size(); ++i) {
      sizes.data_ptr<int64_t>()[i] = static_cast<int64_t>(texts[i].size());
    }
    if (!texts.empty()) broadcast(sizes);
    for (size_t i = 0; i < texts.size(); ++i) {
      texts[i].resize(static_cast<size_t>(sizes.data_ptr<int64_t>()[i]));
      if (!texts[i].empty()) broadcast(BytesOf(texts[i]));
    }
  });
}

RankGroup::Sending RankGroup::StartSending(const at::Tensor& tensor, int to) {
  c10::intrusive_ptr<c10d::Work> work;
  const absl::Status started = Communicate([&] {
    std::vector<at::Tensor> one = {tensor};
    work = group_->send(one, to, /*tag=*/0);
  });
  if (!started.ok()) return [started](absl::Duration) { return started; };
  return [work](absl::Duration timeout) {
    return Communicate([&] { work->wait(ToChrono(timeout)); });
  };
}

absl::Status RankGroup::Receive(at::Tensor& tensor, int from, absl::Duration timeout) {
  return Communicate([&] {
    std::vector<at::Tensor> one = {tensor};
    group_->recv(one, from, /*tag=*/0)->wait(ToChrono(timeout));
  });
}

absl::Status RankGroup::Sum(at::Tensor& tensor) {
  return Communicate([&] {
    std::vector<at::Tensor> one = {tensor};
    group_->allreduce(one)->wait();
  });
}

std::unique_ptr<GradientSum> RankGroup::SumGradients(std::vector<at::Tensor> weights) {
  return std::make_unique<ReducedGradients>(std::move(weights), group_);
}

absl::Status RankGroup::Lost(const std::exception& error) const { return RankLost(OneLine(error)); }

void RankGroup::Abort() {
  if (!aborted_.exchange(true)) group_->getBackend(at::kCPU)->abort();
}

}  // namespace denoise
