// The C++ client of denoised.
//
//     denoise::Client client({.address = "127.0.0.1:50051"});
//     denoised::v1::GenerateRequest request;
//     request.set_model("models/emoji-32");
//     request.set_class_label(2);
//     denoise::GenerateStream stream = client.Generate(request);
//     while (true) {
//       auto event = stream.Next();
//       if (!event.ok()) return event.status();
//       if (!event->has_value()) break;  // the end, as it should be
//       if ((*event)->has_image()) Save((*event)->image());
//     }
//
// Every error is an absl::Status with gRPC's code, a message for people, and the server's
// google.rpc details as payloads: see status_from_grpc.h. Calls that meet UNAVAILABLE are retried
// by gRPC as ClientOptions says.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client_options.h"
#include "client/server_stream.h"
#include "denoised/v1/generations.pb.h"
#include "denoised/v1/image_generation.pb.h"
#include "denoised/v1/models.pb.h"

namespace denoise {

enum class Health {
  kServing,
  kNotServing,  // starting, draining or broken
  kUnknown,     // the server does not know its own state
};

// One connection, made on the first call and made again whenever it breaks. Movable; every method
// is thread-safe.
class Client {
 public:
  explicit Client(ClientOptions options = {});
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  ~Client();

  const ClientOptions& options() const;

  // Starts a generation; what goes wrong is told by the stream. The deadline counts from now and
  // covers the whole stream. If the server drains, another one continues the generation and the
  // stream, after an event `handover`. If somebody pauses the generation, the stream ends with such
  // an event, which has a token, and Aborted.
  GenerateStream Generate(const denoised::v1::GenerateRequest& request);
  GenerateStream Generate(const denoised::v1::GenerateRequest& request, absl::Duration deadline);

  // Reads a generation that runs or is kept, beside its other readers: the events numbered above
  // `resume_after`, none if that was the last; all without it. `name` is
  // "generations/photo-1", or "photo-1" for short.
  GenerateStream WatchGeneration(std::string_view name,
                                 std::optional<int64_t> resume_after = std::nullopt);
  absl::StatusOr<denoised::v1::Generation> GetGeneration(std::string_view name);
  // Those that run and those whose results are kept, the latest first, all pages.
  absl::StatusOr<std::vector<denoised::v1::Generation>> ListGenerations();
  absl::StatusOr<denoised::v1::Generation> CancelGeneration(std::string_view name);
  // Takes it off the device, before its next evaluation: only the deadline of generations holds.
  // GenerateRequest.handover with the token of the answer continues it.
  absl::StatusOr<denoised::v1::PauseGenerationResponse> PauseGeneration(std::string_view name);

  // Starts the forward process of some pictures, as Generate starts a generation.
  DiffuseStream Diffuse(const denoised::v1::DiffuseRequest& request);

  // Every model being served, by name, all pages. With `show_failed` also those whose files are
  // broken: their state is FAILED and their `error` says why.
  absl::StatusOr<std::vector<denoised::v1::Model>> ListModels(bool show_failed = false);

  // `name` is "models/emoji-32", or "emoji-32" for short.
  absl::StatusOr<denoised::v1::Model> GetModel(std::string_view name);

  // The adapters that requests may name, broken ones included; only those that fit `model`, as for
  // GetModel, where it is not empty.
  absl::StatusOr<std::vector<denoised::v1::Adapter>> ListAdapters(std::string_view model = {});

  // Every model as it is now, failed ones included, then `complete`, then every change. The stream
  // ends only with an error, such as UNAVAILABLE when the server stops.
  ModelStream WatchModels();

  // Loads a model into memory, frees its memory, or removes its folder; `name` as for GetModel.
  // PermissionDenied unless the server runs with --manage-models. Loading takes its time: only the
  // deadline of generations holds for it.
  absl::StatusOr<denoised::v1::Model> LoadModel(std::string_view name);
  absl::StatusOr<denoised::v1::Model> UnloadModel(std::string_view name);
  absl::Status DeleteModel(std::string_view name);

  // What the model's sampler, or the one that `sampler` asks for, will do. `model` as for GetModel.
  absl::StatusOr<denoised::v1::SamplerPlan> PlanSampler(
      std::string_view model, const denoised::v1::SamplerOptions& sampler);

  // `service` is a full name such as "denoised.v1.ImageGeneration"; empty asks for the server as a
  // whole. NotFound when the server has no such service.
  absl::StatusOr<Health> CheckHealth(std::string_view service = {});

 private:
  void FollowHandovers(GenerateStream::Call& call, absl::Time deadline) const;

  class Impl;
  std::unique_ptr<Impl> impl_;
};

// "models/emoji-32" for "emoji-32" and for itself; the other way round.
std::string ModelResourceName(std::string_view name);
std::string ShortModelName(std::string_view name);

// "adapters/pixel-art" for "pixel-art", "models/sd15/adapters/pixel-art" for "sd15/pixel-art", and
// both for themselves; the other way round.
std::string AdapterResourceName(std::string_view name);
std::string ShortAdapterName(std::string_view name);

// "generations/photo-1" for "photo-1" and for itself; the other way round.
std::string GenerationResourceName(std::string_view name);
std::string ShortGenerationName(std::string_view name);

}  // namespace denoise
