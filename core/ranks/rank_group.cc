#include "core/ranks/rank_group.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Logging.h>
#include <signal.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <iterator>
#include <stdexcept>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/comm.hpp>
#include <torch/csrc/distributed/c10d/reducer.hpp>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/error_details.h"
#include "core/ranks/c10d_errors.h"

namespace denoise {
namespace {

// Gradients of this many bytes are summed together: c10d's own choice. The first bucket is smaller,
// so that communication begins early.
constexpr size_t kBucketBytes = c10d::kDefaultBucketBytesCap;
constexpr size_t kFirstBucketBytes = c10d::kDefaultFirstBucketBytes;

// Runs what throws c10d's, Gloo's or a socket's exceptions.
template <class Function>
absl::Status Communicate(const Function& function) {
  try {
    function();
    return absl::OkStatus();
  } catch (const std::exception& error) {
    return RankLostError(OneLine(error));
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

// Those of `weights` that `loss` depends on, the last ones first, whose gradients tend to come
// first. The order is the same on every rank, although the graphs of different devices may differ.
std::vector<at::Tensor> UsedBy(const at::Tensor& loss, const std::vector<at::Tensor>& weights) {
  std::unordered_set<const c10::TensorImpl*> leaves;
  std::deque<torch::autograd::Node*> nodes = {loss.grad_fn().get()};
  std::unordered_set<const torch::autograd::Node*> seen(nodes.begin(), nodes.end());
  for (; !nodes.empty(); nodes.pop_front()) {
    torch::autograd::Node* const node = nodes.front();
    if (const auto* leaf = dynamic_cast<const torch::autograd::AccumulateGrad*>(node)) {
      leaves.insert(leaf->variable.unsafeGetTensorImpl());
    }
    for (const torch::autograd::Edge& edge : node->next_edges()) {
      if (edge.function && seen.insert(edge.function.get()).second) {
        nodes.push_back(edge.function.get());
      }
    }
  }
  std::vector<at::Tensor> used;
  std::copy_if(
      weights.rbegin(), weights.rend(), std::back_inserter(used),
      [&](const at::Tensor& weight) { return leaves.contains(weight.unsafeGetTensorImpl()); });
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

  void BeforeLastBackward(const at::Tensor& loss) override {
    if (!reducer_) {
      reducer_ = MakeReducer<c10d::Reducer>(UsedBy(loss, weights_), group_);
      reducer_->register_comm_hook(std::make_unique<SumHook>(group_));
    }
    // After the first step the leader's reducer tells the others in what order gradients come.
    reducer_->rebuild_buckets();
    reducer_->prepare_for_backward({});
  }

 private:
  const std::vector<at::Tensor> weights_;
  const c10::intrusive_ptr<c10d::ProcessGroup> group_;
  std::unique_ptr<c10d::Reducer> reducer_;  // from the end of the first step on
};

template <class Works>
void AbortAll(const Works& works) {
  for (const auto& work : works) work->abort();
}

at::Tensor BytesOf(std::string& text) {
  return at::from_blob(text.data(), {static_cast<int64_t>(text.size())}, at::kByte);
}

}  // namespace

void PrepareProcessForRanks() {
  signal(SIGPIPE, SIG_IGN);
  setenv("TORCH_FR_BUFFER_SIZE", "0", /*overwrite=*/0);
  FLAGS_caffe2_log_level = 3;  // what c10d logs with stack traces, its exceptions say too
}

absl::Status RankLostError(const std::string& detail) {
  return WithErrorReason(absl::UnavailableError(absl::StrCat("a rank was lost: ", detail)),
                         kRankLostReason);
}

// Gloo has no type of its own for its errors, but they name its files.
std::optional<absl::Status> RankLostBy(const std::exception& error) {
  const std::string text = OneLine(error);
  const bool communicates =
      dynamic_cast<const c10::DistError*>(&error) != nullptr || absl::StrContains(text, "gloo/");
  if (!communicates) return std::nullopt;
  return RankLostError(text);
}

absl::StatusOr<std::unique_ptr<RankGroup>> RankGroup::Form(c10::intrusive_ptr<c10d::Store> store,
                                                           const Options& options) {
  c10::intrusive_ptr<c10d::ProcessGroup> group;
  const absl::Status formed = Communicate([&] {
    const auto gloo = c10d::ProcessGroupGloo::Options::create(ToChrono(options.forming_timeout));
    gloo->devices.push_back(
        c10d::ProcessGroupGloo::createDeviceForHostname(options.address, /*lazyInit=*/false));
    const auto backend =
        c10::make_intrusive<c10d::ProcessGroupGloo>(store, options.rank, options.size, gloo);
    backend->setTimeout(ToChrono(options.timeout));
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

void RankGroup::BroadcastOrThrow(const at::Tensor& tensor) {
  std::vector<at::Tensor> one = {tensor};
  group_->broadcast(one)->wait();
}

absl::Status RankGroup::Broadcast(const at::Tensor& tensor) {
  return Communicate([&] { BroadcastOrThrow(tensor); });
}

absl::Status RankGroup::Broadcast(std::vector<std::string>& texts) {
  return Communicate([&] {
    const at::Tensor count = at::tensor({static_cast<int64_t>(texts.size())}, at::kLong);
    BroadcastOrThrow(count);
    texts.resize(static_cast<size_t>(count.item<int64_t>()));
    const at::Tensor sizes = at::empty({count.item<int64_t>()}, at::kLong);
    for (size_t i = 0; i < texts.size(); ++i) {
      sizes.data_ptr<int64_t>()[i] = static_cast<int64_t>(texts[i].size());
    }
    if (!texts.empty()) BroadcastOrThrow(sizes);
    for (size_t i = 0; i < texts.size(); ++i) {
      texts[i].resize(static_cast<size_t>(sizes.data_ptr<int64_t>()[i]));
      if (!texts[i].empty()) BroadcastOrThrow(BytesOf(texts[i]));
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
    WaitToReceive({group_->recv(one, from, /*tag=*/0)}, timeout);
  });
}

// What is sent leaves a rank only once it is asked for, so all are asked before one is waited for.
absl::Status RankGroup::AwaitOthers(absl::Duration timeout) {
  return Communicate([&] {
    Works works;
    for (int rank = 1; rank < size(); ++rank) {
      std::vector<at::Tensor> one = {at::empty({1}, at::kFloat)};
      works.push_back(group_->recv(one, rank, /*tag=*/0));
    }
    WaitToReceive(std::move(works), timeout);
  });
}

absl::Status RankGroup::ReportReady() { return StartSending(at::zeros({1}), 0)(timeout()); }

void RankGroup::WaitToReceive(Works works, absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  {
    const MutexLock lock(mutex_);
    receiving_ = works;
    if (interrupted_) AbortAll(receiving_);
  }
  const auto done = absl::MakeCleanup([this] {
    const MutexLock lock(mutex_);
    receiving_.clear();
  });
  for (const auto& work : works) {
    const absl::Duration left = std::max(deadline - absl::Now(), absl::Milliseconds(1));
    if (!work->wait(ToChrono(left))) throw std::runtime_error("the wait was interrupted");
  }
}

bool RankGroup::receives() const {
  const MutexLock lock(mutex_);
  return !receiving_.empty();
}

void RankGroup::InterruptReceive() {
  const MutexLock lock(mutex_);
  interrupted_ = true;
  AbortAll(receiving_);
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

}  // namespace denoise
