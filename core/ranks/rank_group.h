// The processes that train one model together. Each is a rank; rank 0 leads.
//
// A group is made by all of its ranks at once (rendezvous.h), and communicates through c10d, the
// process groups inside LibTorch, over Gloo. What one rank sends, all others must expect: every
// rank makes the same calls in the same order. The first failure, such as the loss of a rank, is
// the end of a group; what was trained since the last checkpoint is repeated by a new one. The
// others notice the failure of a rank when it destroys its end of the group.
//
// Connections are neither encrypted nor authenticated: groups belong on a network of their own.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/intrusive_ptr.h>

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/mutex.h"

namespace c10d {
class ProcessGroup;
class Store;
class Work;
}  // namespace c10d

namespace denoise {

// Whether to give up waiting. Called now and then by the thread that waits.
using Stopped = std::function<bool()>;

// Sets what c10d and Gloo take from the process: SIGPIPE is ignored, c10d logs nothing, and it
// keeps no record of its operations, which it begins with a race where there are several groups. To
// be called before there are other threads.
void PrepareProcessForRanks();

// The reason (google.rpc.ErrorInfo) of errors after which a group is of no more use: Unavailable.
inline constexpr char kRankLostReason[] = "RANK_LOST";

// Sums gradients over all ranks while they are computed, in buckets: the sum of one bucket is on
// its way while the backward pass computes the next. Used by the thread that trains.
class GradientSum {
 public:
  virtual ~GradientSum() = default;
  // Before loss.backward(), the last one of a step: when that returns, gradients are sums over all
  // ranks and the same on each of them. Until then they are a rank's own. Weights that the loss
  // does not depend on keep their gradients.
  virtual void BeforeLastBackward(const at::Tensor& loss) = 0;
};

// The error for a group that cannot go on because of another rank.
absl::Status RankLostError(const std::string& detail);

// The same for `error`, which a backward pass that sums gradients has thrown; nullopt if it has
// another reason than the communication with other ranks.
std::optional<absl::Status> RankLostBy(const std::exception& error);

// Not thread-safe, except where said.
class RankGroup {
 public:
  static constexpr absl::Duration kFormingTimeout = absl::Seconds(10);
  struct Options {
    int rank = 0;
    int size = 1;
    std::string address;                        // of this machine, that the other ranks can reach
    absl::Duration timeout = absl::Minutes(1);  // how long to wait for a rank that is silent
    absl::Duration forming_timeout = kFormingTimeout;  // the same while the group forms
  };
  // Returns once all ranks have connected to one another through `store`. Unavailable
  // (kRankLostReason): one of them has not come in time.
  static absl::StatusOr<std::unique_ptr<RankGroup>> Form(c10::intrusive_ptr<c10d::Store> store,
                                                         const Options& options);
  ~RankGroup();
  RankGroup(const RankGroup&) = delete;
  RankGroup& operator=(const RankGroup&) = delete;

  int rank() const { return options_.rank; }
  int size() const { return options_.size; }
  const std::string& address() const { return options_.address; }

  // The rows [first, end) of a batch that a rank works on. Each has at least one where the batch
  // has as many rows as there are ranks.
  struct Share {
    int first = 0, end = 0;
    int rows() const { return end - first; }
  };
  Share ShareOf(int rank, int batch_size) const;
  Share share(int batch_size) const { return ShareOf(rank(), batch_size); }

  // All of these block, and return Unavailable (kRankLostReason) if another rank fails, or is
  // silent for the timeout. Tensors are contiguous, of the same shape and dtype on both sides.

  // Gives every rank what rank 0 has.
  absl::Status Broadcast(const at::Tensor& tensor);
  absl::Status Broadcast(std::vector<std::string>& texts);
  // Waits until another rank has received what is sent to it.
  using Sending = std::function<absl::Status(absl::Duration timeout)>;
  // `tensor` is on the CPU, and keeps its values while it is sent.
  Sending StartSending(const at::Tensor& tensor, int to);
  absl::Status Receive(at::Tensor& tensor, int from, absl::Duration timeout);
  // The leader waits until all others have called ReportReady, in any order.
  absl::Status AwaitOthers(absl::Duration timeout);
  absl::Status ReportReady();
  // Replaces `tensor` by the sum over all ranks, which is the same on each.
  absl::Status Sum(at::Tensor& tensor);

  // Of the gradients of `weights`, which are leaves on one device. Every rank has the same ones.
  // The loss of a rank makes backward passes throw; see RankLostBy.
  std::unique_ptr<GradientSum> SumGradients(std::vector<at::Tensor> weights);

  // Announces that this rank wants to leave. The others learn of it with the next step, and its
  // leader then ends the run without losing a step. Thread-safe.
  void Leave() { leaves_ = true; }
  bool leaves() const { return leaves_; }

  // Whether a Receive or AwaitOthers is waiting. Thread-safe.
  bool receives() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Makes a Receive or AwaitOthers that is waiting, or the next one, fail. Thread-safe.
  void InterruptReceive() ABSL_LOCKS_EXCLUDED(mutex_);

  // Marks the group as failed. Its owner should destroy it soon: that is what the others notice.
  void SetFailed() { failed_ = true; }
  bool failed() const { return failed_; }
  absl::Duration timeout() const { return options_.timeout; }

 private:
  RankGroup(const Options& options, c10::intrusive_ptr<c10d::ProcessGroup> group);

  using Works = std::vector<c10::intrusive_ptr<c10d::Work>>;
  // These throw as c10d does.
  void BroadcastOrThrow(const at::Tensor& tensor);
  void WaitToReceive(Works works, absl::Duration timeout) ABSL_LOCKS_EXCLUDED(mutex_);

  const Options options_;
  const c10::intrusive_ptr<c10d::ProcessGroup> group_;
  std::atomic<bool> leaves_ = false;
  bool failed_ = false;
  mutable Mutex mutex_;
  Works receiving_ ABSL_GUARDED_BY(mutex_);
  bool interrupted_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace denoise
