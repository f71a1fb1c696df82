#include "server/server_flags.h"

#include <CLI/CLI.hpp>
#include <limits>
#include <ostream>

namespace denoise {
namespace {

constexpr int kUsageError = 2;

constexpr char kExamples[] = R"(Examples:
  denoised --models deploy/models
  denoised --models /models --listen 0.0.0.0:50051 --metrics 0.0.0.0:9464 --device cuda:0,cuda:1
  denoised --models models --state state --training-share 0.5
  denoised --models /models --listen 0.0.0.0:443 --tls-cert server.crt --tls-key server.key

It prints "listening on HOST:PORT" and "metrics on HOST:PORT" on standard output once it is ready, and logs to standard
error. SIGTERM and SIGINT let running requests finish; a second one ends it at once.)";

constexpr int kMaxInt = std::numeric_limits<int>::max();

void AddAddressFlags(CLI::App& app, ServerFlags& flags) {
  app.add_option("--models", flags.models, "Folder with one folder per model")
      ->required()
      ->check(CLI::Validator(CLI::ExistingDirectory).description(""))
      ->type_name("DIR");
  app.add_option("--listen", flags.listen, "Where to serve gRPC; port 0 takes a free one")
      ->type_name("HOST:PORT");
  app.add_option("--metrics", flags.metrics,
                 "Where to serve Prometheus /metrics; port 0 takes a free one, \"off\" serves none")
      ->type_name("HOST:PORT");
  auto* cert =
      app.add_option("--tls-cert", flags.tls_cert, "Serve TLS with this PEM certificate chain")
          ->check(CLI::Validator(CLI::ExistingFile).description(""))
          ->type_name("FILE");
  auto* key = app.add_option("--tls-key", flags.tls_key, "The certificate's PEM private key")
                  ->check(CLI::Validator(CLI::ExistingFile).description(""))
                  ->type_name("FILE");
  cert->needs(key);
  key->needs(cert);
}

void AddEngineFlags(CLI::App& app, ServerFlags& flags) {
  app.add_option("--device", flags.device, "auto, cpu, cuda, or a list such as cuda:0,cuda:1");
  app.add_option("--dtype", flags.dtype, "What networks compute in; float16 needs CUDA")
      ->check(CLI::IsMember({"float32", "bfloat16", "float16"}));
  app.add_option("--threads", flags.threads, "Threads of a CPU worker; 0: the cores it may use")
      ->check(CLI::Range(0, 1024));
  app.add_option("--batch-invariant", flags.batch_invariant,
                 "On CPU, give every image the same bits whoever shares its batch")
      ->default_str("true");
  app.add_option("--max-batch-rows", flags.max_batch_rows,
                 "Rows of one network call; an image takes one for each of its classes, and one "
                 "more where it is guided")
      ->check(CLI::Range(2, 4096));
  app.add_option("--max-active-rows", flags.max_active_rows,
                 "Rows in a device's loop, at least --max-batch-rows; they take turns")
      ->check(CLI::Range(2, 65536));
  app.add_option("--queue-size", flags.queue_size, "Requests that may wait to start")
      ->check(CLI::Range(1, 65536));
}

void AddLimitFlags(CLI::App& app, ServerFlags& flags) {
  app.add_option("--max-steps", flags.max_steps, "Steps a request may ask for")
      ->check(CLI::Range(1, 1'000'000));
  app.add_option("--max-images-per-request", flags.max_images_per_request,
                 "Images a request may ask for")
      ->check(CLI::Range(1, 65536));
  app.add_option("--max-pixels", flags.max_pixels,
                 "Pixels a request of several images may ask for, over all of them")
      ->check(CLI::PositiveNumber);
  app.add_option("--max-picture-pixels", flags.max_picture_pixels,
                 "Pixels of each picture that a request or a data set may bring along")
      ->check(CLI::PositiveNumber);
  app.add_option("--max-frame-bytes", flags.max_frame_bytes,
                 "Frames larger than this, once encoded, are left out")
      ->check(CLI::Range(1, kMaxInt));
  app.add_option("--max-receive-bytes", flags.max_receive_bytes, "Largest message accepted")
      ->check(CLI::Range(1024, kMaxInt));
  app.add_option("--max-concurrent-streams", flags.max_concurrent_streams, "Calls per connection")
      ->check(CLI::Range(1, 65536));
  app.add_option("--memory-quota-mib", flags.memory_quota_mib,
                 "Memory that gRPC may use for its connections")
      ->check(CLI::Range(16, 1 << 20));
  app.add_option("--max-unread-mib", flags.max_unread_mib,
                 "Memory for what calls make until it is read; beyond it calls are UNAVAILABLE")
      ->check(CLI::Range(1, 1 << 24));
  app.add_option("--max-write-seconds", flags.max_write_seconds,
                 "How long a reader may take over one event before its call is cancelled")
      ->check(CLI::Range(1, 86'400));
  app.add_option("--keep-results-seconds", flags.keep_results_seconds,
                 "How long the result of a request with a request_id or DETACH is kept")
      ->check(CLI::Range(0, 86'400));
  app.add_option("--keep-results-mib", flags.keep_results_mib,
                 "Memory for such results; beyond it the oldest go earlier")
      ->check(CLI::Range(0, 1 << 24));
}

void AddTrainingFlags(CLI::App& app, ServerFlags& flags) {
  constexpr char kGroup[] = "Training";
  app.add_option("--state", flags.state,
                 "Where data sets and training jobs are kept; made if need be. Without it there is "
                 "no training")
      ->type_name("DIR")
      ->group(kGroup);
  app.add_option("--training-share", flags.training_share,
                 "The part of a device's time that training may take while requests wait for it")
      ->check(CLI::Range(0.0, 0.99))
      ->group(kGroup);
  app.add_option("--max-running-jobs", flags.max_running_jobs, "Jobs that run at a time")
      ->check(CLI::Range(1, 1024))
      ->group(kGroup);
  app.add_option("--max-waiting-jobs", flags.max_waiting_jobs, "Jobs that may wait to run")
      ->check(CLI::Range(1, 1'000'000))
      ->group(kGroup);
  app.add_option("--max-micro-batch-pixels", flags.max_micro_batch_pixels,
                 "Pixels of one network call in training, which bounds the memory of jobs")
      ->check(CLI::Range(1, kMaxInt))
      ->group(kGroup);
  app.add_option("--max-datasets", flags.max_datasets, "Data sets that may be kept")
      ->check(CLI::Range(1, 1'000'000))
      ->group(kGroup);
  app.add_option("--max-dataset-gib", flags.max_dataset_gib,
                 "Size of one upload, and of what is stored of it")
      ->check(CLI::Range(1, 1 << 20))
      ->group(kGroup);
  app.add_option("--max-datasets-gib", flags.max_datasets_gib,
                 "What all data sets together may take on the disk; one that is uploaded takes its "
                 "size twice until it has been read")
      ->check(CLI::Range(1, 1 << 20))
      ->group(kGroup);
  app.add_option(
         "--inception", flags.inception,
         "Weights of the FID Inception network in safetensors, for evaluations that ask for "
         "them")
      ->check(CLI::Validator(CLI::ExistingFile).description(""))
      ->type_name("FILE")
      ->group(kGroup);
}

void AddLifeFlags(CLI::App& app, ServerFlags& flags) {
  app.add_option("--drain-seconds", flags.drain_seconds,
                 "How long running requests may take to finish after SIGTERM")
      ->check(CLI::Range(0, 86'400));
  app.add_option("--log-level", flags.log_level, "What to log")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error", "critical", "off"}));
  app.set_version_flag("--version", std::string("denoised ") + DENOISED_VERSION);
}

}  // namespace

std::variant<ServerFlags, int> ParseServerFlags(int argc, const char* const* argv,
                                                std::ostream& out, std::ostream& err) {
  ServerFlags flags;
  CLI::App app("Generates images with diffusion models, over gRPC.", "denoised");
  app.option_defaults()->always_capture_default();
  app.footer(kExamples);
  AddAddressFlags(app, flags);
  AddEngineFlags(app, flags);
  AddLimitFlags(app, flags);
  AddTrainingFlags(app, flags);
  AddLifeFlags(app, flags);
  try {
    app.parse(argc, argv);
    if (flags.max_active_rows < flags.max_batch_rows) {
      throw CLI::ValidationError("--max-active-rows", "must be at least --max-batch-rows");
    }
  } catch (const CLI::ParseError& error) {
    return app.exit(error, out, err) == 0 ? 0 : kUsageError;
  }
  if (flags.metrics == "off") flags.metrics.clear();
  return flags;
}

}  // namespace denoise
