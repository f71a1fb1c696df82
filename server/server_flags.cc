#include "server/server_flags.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <limits>
#include <ostream>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/command_line/usage_error.h"
#include "server/identity/scope.h"
#include "server/models/model_id.h"

namespace denoise {
namespace {

constexpr int kUsageError = 2;

constexpr char kExamples[] = R"(Examples:
  denoised --models deploy/models
  denoised --models /models --listen 0.0.0.0:50051 --http 0.0.0.0:8080 --device cuda:0,cuda:1
  denoised --models models --state state --training-share 0.5
  denoised --models /models --listen 0.0.0.0:443 --tls-cert server.crt --tls-key server.key
  denoised --models /models --tokens tokens
  denoised new-token --help  # make a token for --tokens
  denoised new-handover-key  # make a key for --handover-key
  denoised rank --help       # train what another server leads (--ranks)
  denoised check --help      # tell whether checkpoints would load
  denoised convert --help    # convert single-file checkpoints
  denoised new-model --help  # write a model with random weights

Once ready, it prints "listening on HOST:PORT" and "http on HOST:PORT" on standard output. It logs
to standard error. SIGTERM, SIGINT, SIGHUP and SIGQUIT let running requests finish; a
second signal stops the server at once.)";

constexpr int kMaxInt = std::numeric_limits<int>::max();

// For CLI11: empty where all is well.
std::string CheckScopes(const std::string& text) {
  return std::string(Scopes::Parse(text).status().message());
}

void AddAddressFlags(CLI::App& app, ServerFlags& flags) {
  app.add_option("--models", flags.models, "Folder that holds one folder per model")
      ->required()
      ->type_name("DIR");  // ModelsFolder says what it is instead of a folder of models
  app.add_option("--listen", flags.listen, "Address to serve gRPC on; port 0 picks a free port")
      ->type_name("HOST:PORT");
  app.add_option("--http", flags.http,
                 "Address to serve HTTP on: RPCs as Connect and gRPC-Web, /metrics,\n"
                 "/healthz and /readyz; port 0 picks a free port, \"off\" disables it")
      ->type_name("HOST:PORT");
  app.add_option("--http-allow-origin", flags.http_allow_origins,
                 "Let pages of this origin use the server (CORS), such as\n"
                 "https://example.org, or * for all. May be repeated")
      ->allow_extra_args(false)
      ->type_name("ORIGIN");
  app.add_option_function<std::string>("--metrics",
                                       [](const std::string&) {
                                         throw CLI::ValidationError(
                                             "--metrics", "is gone: /metrics is served at --http");
                                       })
      ->group("");
  auto* cert =
      app.add_option("--tls-cert", flags.tls_cert, "Serve TLS with this PEM certificate chain")
          ->check(CLI::Validator(CLI::ExistingFile).description(""))
          ->type_name("FILE");
  auto* key = app.add_option("--tls-key", flags.tls_key, "Private key of the certificate, in PEM")
                  ->check(CLI::Validator(CLI::ExistingFile).description(""))
                  ->type_name("FILE");
  cert->needs(key);
  key->needs(cert);
  auto* client_ca =
      app.add_option("--tls-client-ca", flags.tls_client_ca,
                     "Ask clients for a certificate of these CAs, in PEM. The common\n"
                     "name of its subject is the tenant, or else its first DNS name")
          ->check(CLI::Validator(CLI::ExistingFile).description(""))
          ->type_name("FILE")
          ->needs(cert);
  app.add_option("--tls-client-scopes", flags.tls_client_scopes,
                 "What callers may do who show a certificate and no token: generate,\n"
                 "train, admin")
      ->check(CLI::Validator(CheckScopes, ""))
      ->type_name("LIST")
      ->needs(client_ca);
}

// The same; puts the name into lower case.
std::string CheckHeaderName(std::string& name) {
  absl::AsciiStrToLower(&name);
  const bool is_valid = !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
  return is_valid ? "" : "must be the name of a header, such as x-tenant";
}

// Returns the option that turns JWTs on.
CLI::Option* AddJwtFlags(CLI::App& app, ServerFlags& flags) {
  auto* keys = app.add_option("--jwt-jwks", flags.jwt_jwks,
                              "Accept tokens (JWT) that a key of this JWKS file has signed. It is\n"
                              "read again when it changes")
                   ->check(CLI::Validator(CLI::ExistingFile).description(""))
                   ->type_name("FILE");
  auto* issuer =
      app.add_option("--jwt-issuer", flags.jwt_issuer, "Who must have issued a JWT (iss)")
          ->type_name("URL");
  auto* audience =
      app.add_option("--jwt-audience", flags.jwt_audience, "Whom a JWT must be for (aud)")
          ->type_name("TEXT");
  app.add_option("--jwt-leeway", flags.jwt_leeway_seconds,
                 "How far the clocks of issuer and server may differ")
      ->check(CLI::Range(0, 300))
      ->type_name("SECONDS")
      ->needs(keys);
  keys->needs(issuer)->needs(audience);
  issuer->needs(keys);
  audience->needs(keys);
  return keys;
}

void AddIdentityFlags(CLI::App& app, ServerFlags& flags) {
  auto* tokens = app.add_option("--tokens", flags.tokens,
                                "Ask callers for a bearer token of this file, which\n"
                                "`denoised new-token` writes. It is read again when it changes")
                     ->check(CLI::Validator(CLI::ExistingFile).description(""))
                     ->type_name("FILE");
  auto* keys = AddJwtFlags(app, flags);
  app.add_option("--tenant-header", flags.tenant_header,
                 "Believe this header (of gRPC: metadata) when it names the tenant. Only\n"
                 "behind a proxy that authenticates callers and sets it")
      ->transform(CLI::Validator(CheckHeaderName, ""))
      ->type_name("NAME")
      ->excludes(tokens)
      ->excludes(keys)
      ->excludes("--tls-client-ca");
  app.add_option("--metrics-access", flags.metrics_access,
                 "Who may read /metrics where credentials are asked for: callers with\n"
                 "the scope admin, or all")
      ->check(CLI::IsMember({"admin", "all"}));
  app.add_option("--reflection", flags.reflection,
                 "Serve gRPC's reflection, which describes the API")
      ->default_str("true");
}

// Takes "bfloat16", and "NAME=bfloat16" for single models.
void SetDtypes(const std::vector<std::string>& values, ServerFlags& flags) {
  bool has_default = false;
  for (const std::string& value : values) {
    const size_t equals = value.rfind('=');
    const std::string dtype = value.substr(equals == std::string::npos ? 0 : equals + 1);
    if (dtype != "float32" && dtype != "bfloat16" && dtype != "float16") {
      throw CLI::ValidationError(
          "--dtype", absl::StrCat(value,
                                  " is not float32, bfloat16 or float16, nor one of these "
                                  "after MODEL="));
    }
    if (equals == std::string::npos) {
      if (std::exchange(has_default, true)) {
        throw CLI::ValidationError("--dtype", "is given twice; more than one needs MODEL=");
      }
      flags.dtype = dtype;
      continue;
    }
    const std::string model = value.substr(0, equals);
    if (!IsValidModelId(model)) {
      throw CLI::ValidationError("--dtype", absl::StrCat(value, ": ", kModelIdRule));
    }
    if (!flags.model_dtypes.emplace(model, dtype).second) {
      throw CLI::ValidationError("--dtype", absl::StrCat(model, " is given twice"));
    }
  }
}

void AddModelFlags(CLI::App& app, ServerFlags& flags) {
  app.add_option("--poll-models", flags.poll_models_seconds,
                 "How often to look for models that were added, replaced or removed; 0\n"
                 "looks at the start only")
      ->check(CLI::Range(0.0, 86400.0))
      ->type_name("SECONDS");
  app.add_option("--model-memory", flags.model_memory_mib,
                 "Memory for the weights of models on each device. Those not used for\n"
                 "longest are unloaded, and loaded again on demand. 0: no limit")
      ->check(CLI::Range(0, kMaxInt))
      ->type_name("MIB");
  app.add_option("--adapters", flags.adapters,
                 "Folder of adapters (LoRA) that requests may name. Those in a model's\n"
                 "folder \"loras\" are served without it")
      ->check(CLI::Validator(CLI::ExistingDirectory).description(""))
      ->type_name("DIR");
  app.add_option("--adapter-memory", flags.adapter_memory_mib,
                 "Memory for adapters. Those not used for longest make room for others.\n"
                 "0: no limit")
      ->check(CLI::Range(0, kMaxInt))
      ->type_name("MIB");
  app.add_flag("--manage-models", flags.manage_models,
               "Let callers load, unload and delete models (`denoise models --help`)");
}

void AddEngineFlags(CLI::App& app, ServerFlags& flags) {
  app.add_option("--device", flags.device,
                 "Devices to run on: auto, cpu, cuda, or a list such as cuda:0,cuda:1");
  app.add_option_function<std::vector<std::string>>(
         "--dtype", [&flags](const std::vector<std::string>& values) { SetDtypes(values, flags); },
         "Data type that models compute in: float32, bfloat16 or float16, which\n"
         "needs CUDA. Repeat with MODEL=DTYPE for single models")
      ->type_name("[MODEL=]DTYPE")
      ->allow_extra_args(false)
      ->default_str(flags.dtype);
  app.add_option("--text-encoders", flags.text_encoders,
                 "Where models encode prompts: on the device, or on the CPU, which\n"
                 "leaves the device's memory to the rest")
      ->check(CLI::IsMember({"device", "cpu"}));
  app.add_option("--threads", flags.threads,
                 "Threads per CPU worker; 0 means one per core that the process may use")
      ->check(CLI::Range(0, 1024));
  app.add_option("--batch-invariant", flags.batch_invariant,
                 "On the CPU, make each image independent of the others in its batch,\n"
                 "bit for bit")
      ->default_str("true");
  app.add_option("--max-batch-rows", flags.max_batch_rows,
                 "Maximum rows per network call; an image takes one row per class, and\n"
                 "one more if it is guided")
      ->check(CLI::Range(2, 4096));
  app.add_option("--max-active-rows", flags.max_active_rows,
                 "Maximum rows in progress per device, at least --max-batch-rows; they\n"
                 "take turns")
      ->check(CLI::Range(2, 65536));
  app.add_option("--queue-size", flags.queue_size, "Maximum requests that wait to start")
      ->check(CLI::Range(1, 65536));
  app.add_option("--device-timeout-seconds", flags.device_timeout_seconds,
                 "How long a device may take over one evaluation, or one network call of\n"
                 "training, before it counts as hanging: liveness turns false, and its\n"
                 "requests end. 0 means any time")
      ->check(CLI::Range(0, 86'400));
}

// Takes "NAME=2".
void SetTenantWeights(const std::vector<std::string>& values, ServerFlags& flags) {
  constexpr double kMaxWeight = 1000;
  for (const std::string& value : values) {
    const size_t equals = value.rfind('=');
    double weight = 0;
    if (equals == std::string::npos || equals == 0 ||
        !absl::SimpleAtod(value.substr(equals + 1), &weight) || !(weight >= 1 / kMaxWeight) ||
        weight > kMaxWeight) {
      throw CLI::ValidationError(
          "--tenant-weight",
          absl::StrCat(value, " is not NAME=WEIGHT with a weight between 0.001 and 1000"));
    }
    if (!flags.tenant_weights.emplace(value.substr(0, equals), weight).second) {
      throw CLI::ValidationError("--tenant-weight",
                                 absl::StrCat(value.substr(0, equals), " is given twice"));
    }
  }
}

void AddSharingFlags(CLI::App& app, ServerFlags& flags) {
  constexpr char kGroup[] = "Sharing devices";
  app.add_option("--batching", flags.batching,
                 "What shares a network call. evaluation: images join and leave at every\n"
                 "evaluation. For comparison, request: whole requests of equal settings\n"
                 "run together from start to end; none: one request at a time")
      ->check(CLI::IsMember({"evaluation", "request", "none"}))
      ->group(kGroup);
  app.add_option("--batch-efficiency", flags.batch_efficiency,
                 "Batches grow no larger than it takes to reach this part of the best\n"
                 "throughput measured, which keeps evaluations short. 1: they grow to\n"
                 "--max-batch-rows")
      ->check(CLI::Range(0.1, 1.0))
      ->group(kGroup);
  app.add_option("--cost-file", flags.cost_file,
                 "Where to keep what evaluations of models cost, so that it need not be\n"
                 "measured again. Default: costs.json in --state; \"off\" or without\n"
                 "--state, nowhere")
      ->type_name("FILE")
      ->group(kGroup);
  app.add_option_function<std::vector<std::string>>(
         "--tenant-weight",
         [&flags](const std::vector<std::string>& values) { SetTenantWeights(values, flags); },
         "The tenant's weight when tenants share a device; others have 1. May be\n"
         "repeated")
      ->type_name("NAME=WEIGHT")
      ->allow_extra_args(false)
      ->group(kGroup);
  app.add_option("--tenant-queue-size", flags.tenant_queue_size,
                 "Maximum requests of one tenant that wait to start; 0: --queue-size,\n"
                 "shared fairly, is the only limit")
      ->check(CLI::Range(0, 65536))
      ->group(kGroup);
  app.add_option("--tenant-max-seconds", flags.tenant_max_seconds,
                 "Maximum device time that accepted requests of one tenant may still\n"
                 "need; 0: no limit")
      ->check(CLI::Range(0.0, 1e9))
      ->type_name("SECONDS")
      ->group(kGroup);
}

void AddLimitFlags(CLI::App& app, ServerFlags& flags) {
  app.add_option("--max-steps", flags.max_steps, "Maximum steps per request")
      ->check(CLI::Range(1, 1'000'000));
  app.add_option("--max-images-per-request", flags.max_images_per_request,
                 "Maximum images per request")
      ->check(CLI::Range(1, 65536));
  app.add_option("--max-pixels", flags.max_pixels,
                 "Maximum pixels of all images of a request together; one image alone\n"
                 "may exceed it")
      ->check(CLI::PositiveNumber);
  app.add_option("--max-image-pixels", flags.max_image_pixels,
                 "Maximum pixels of an image whose size a request chooses")
      ->check(CLI::PositiveNumber);
  app.add_option("--max-picture-pixels", flags.max_picture_pixels,
                 "Maximum pixels of each picture in a request or a data set")
      ->check(CLI::PositiveNumber);
  app.add_option("--max-frame-bytes", flags.max_frame_bytes,
                 "Skip frames that are larger than this once encoded")
      ->check(CLI::Range(1, kMaxInt));
  app.add_option("--max-receive-bytes", flags.max_receive_bytes,
                 "Maximum size of a message that the server accepts")
      ->check(CLI::Range(1024, kMaxInt));
  app.add_option("--max-connections", flags.max_connections,
                 "Connections at a time. A new one takes the place of the one that has\n"
                 "been idle longest, for 5 s or more; else it is refused")
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--max-connections-per-address", flags.max_connections_per_address,
                 "The same from one IPv4 address or IPv6 /64, such as a proxy's")
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--max-connection-rate", flags.max_connection_rate,
                 "New connections a second from one such address, eight times as many\n"
                 "at once; more are refused")
      ->check(CLI::Range(1, 1'000'000));
  app.add_option("--memory-limit-mib", flags.memory_limit_mib,
                 "Refuse new work at nine tenths of this (0: all that there is)")
      ->check(CLI::Range(0, 1 << 24));
  app.add_option("--max-concurrent-streams", flags.max_concurrent_streams,
                 "Maximum concurrent calls per connection")
      ->check(CLI::Range(1, 65536));
  app.add_option("--memory-quota-mib", flags.memory_quota_mib,
                 "Memory that gRPC may use for its connections")
      ->check(CLI::Range(16, 1 << 20));
  app.add_option("--max-unread-mib", flags.max_unread_mib,
                 "Memory for unread results; beyond it, calls fail with UNAVAILABLE")
      ->check(CLI::Range(1, 1 << 24));
  app.add_option("--max-write-seconds", flags.max_write_seconds,
                 "Cancel a call whose client takes longer than this to read or send one\n"
                 "message")
      ->check(CLI::Range(1, 86'400));
  app.add_option("--keep-results-seconds", flags.keep_results_seconds,
                 "How long to keep the results of requests that have a request_id or\n"
                 "DETACH")
      ->check(CLI::Range(0, 86'400));
  app.add_option("--keep-results-mib", flags.keep_results_mib,
                 "Memory for kept results; beyond it, the oldest are dropped early")
      ->check(CLI::Range(0, 1 << 24));
  app.add_option("--max-detached", flags.max_detached,
                 "Maximum generations with DETACH that wait or run at a time")
      ->check(CLI::Range(0, 1 << 20));
}

void AddTrainingFlags(CLI::App& app, ServerFlags& flags) {
  constexpr char kGroup[] = "Training";
  app.add_option("--state", flags.state,
                 "Folder for data sets and training jobs, created if missing; without\n"
                 "it, training is disabled")
      ->type_name("DIR")
      ->group(kGroup);
  app.add_option("--training-share", flags.training_share,
                 "Share of a device's time that training may take while requests wait")
      ->check(CLI::Range(0.0, 0.99))
      ->group(kGroup);
  app.add_option("--max-running-jobs", flags.max_running_jobs, "Maximum jobs that run at a time")
      ->check(CLI::Range(1, 1024))
      ->group(kGroup);
  app.add_option("--ranks", flags.ranks,
                 "Machines that train a job together: this one and others that run\n"
                 "`denoised rank`. docs/training-on-several-machines.md")
      ->check(CLI::Range(1, 1024))
      ->group(kGroup);
  app.add_option("--min-ranks", flags.min_ranks,
                 "Fewest ranks to train with, including this server, once\n"
                 "--rank-wait-seconds have passed; 0: all --ranks")
      ->check(CLI::Range(0, 1024))
      ->group(kGroup);
  app.add_option("--rank-wait-seconds", flags.rank_wait_seconds,
                 "How long a job waits for all --ranks before it trains with fewer")
      ->check(CLI::Range(0, 86'400))
      ->group(kGroup);
  app.add_option("--rank-timeout-seconds", flags.rank_timeout_seconds,
                 "How long a rank may be silent before the others continue without it\n"
                 "from the last checkpoint")
      ->check(CLI::Range(1, 86'400))
      ->group(kGroup);
  app.add_option("--rank-listen", flags.rank_listen,
                 "Address where ranks join. Neither encrypted nor authenticated: use a\n"
                 "network that only they reach")
      ->type_name("HOST:PORT")
      ->group(kGroup);
  app.add_option("--max-waiting-jobs", flags.max_waiting_jobs, "Maximum jobs that wait to run")
      ->check(CLI::Range(1, 1'000'000))
      ->group(kGroup);
  app.add_option("--max-micro-batch-pixels", flags.max_micro_batch_pixels,
                 "Maximum pixels per network call in training, which bounds the memory\n"
                 "of jobs")
      ->check(CLI::Range(1, kMaxInt))
      ->group(kGroup);
  app.add_option("--max-datasets", flags.max_datasets, "Maximum number of data sets")
      ->check(CLI::Range(1, 1'000'000))
      ->group(kGroup);
  app.add_option("--max-dataset-gib", flags.max_dataset_gib,
                 "Maximum size of one upload, and of the data set stored from it")
      ->check(CLI::Range(1, 1 << 20))
      ->group(kGroup);
  app.add_option("--max-datasets-gib", flags.max_datasets_gib,
                 "Maximum disk space of all data sets together; each needs twice its\n"
                 "size while it is being imported")
      ->check(CLI::Range(1, 1 << 20))
      ->group(kGroup);
  app.add_option("--inception", flags.inception,
                 "Weights of the FID Inception network, in safetensors, for evaluations\n"
                 "that use it")
      ->check(CLI::Validator(CLI::ExistingFile).description(""))
      ->type_name("FILE")
      ->group(kGroup);
}

void AddLifeFlags(CLI::App& app, ServerFlags& flags) {
  app.add_option("--drain-seconds", flags.drain_seconds,
                 "How long running requests may take to finish after SIGTERM")
      ->check(CLI::Range(0, 86'400));
  app.add_option("--handover-key", flags.handover_key,
                 "File with the deployment's key: hand generations over to other\n"
                 "servers after SIGTERM, continue theirs, and let callers pause\n"
                 "generations. A key is what `denoised new-handover-key` prints")
      ->type_name("FILE");
  app.add_option("--paused-token-seconds", flags.paused_token_seconds,
                 "How long a paused generation can be continued with its token. For as\n"
                 "long the server keeps the generation, if the memory for results allows\n"
                 "it, so that a lost token can be asked for again")
      ->check(CLI::Range(1, 10 * 365 * 86'400));
  app.add_option("--log-level", flags.log_level, "Least severe level to log")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error", "critical", "off"}));
  app.add_option("--access-log", flags.access_log,
                 "Where to write one line of JSON for each call: off, stderr or a file\n"
                 "(docs/observability.md)")
      ->type_name("FILE");
  app.add_option("--access-log-mib", flags.access_log_mib,
                 "Size at which the file, such as calls.log, becomes calls.1.log and a\n"
                 "new one begins")
      ->type_name("MIB")
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--access-log-files", flags.access_log_files, "How many full files are kept")
      ->check(CLI::Range(0, 1000));
  app.set_version_flag("--version", std::string("denoised ") + DENOISED_VERSION);
}

// What no flag can check alone.
void CheckTogether(const ServerFlags& flags) {
  if (flags.max_active_rows < flags.max_batch_rows) {
    throw CLI::ValidationError("--max-active-rows", "must be at least --max-batch-rows");
  }
  if (flags.min_ranks > flags.ranks) {
    throw CLI::ValidationError("--min-ranks", "must be at most --ranks");
  }
  if (flags.ranks > 1 && flags.device_timeout_seconds > 0 &&
      flags.rank_timeout_seconds >= flags.device_timeout_seconds) {
    throw CLI::ValidationError("--rank-timeout-seconds",
                               "must be less than --device-timeout-seconds: the device waits for "
                               "the rank, and must not be taken for one that hangs");
  }
  if (flags.ranks > 1 && flags.state.empty()) {
    throw CLI::ValidationError("--ranks", "needs --state: without it, training is disabled");
  }
  if (flags.ranks > 1 && flags.max_running_jobs > 1) {
    throw CLI::ValidationError("--ranks", "needs --max-running-jobs 1: jobs cannot share ranks");
  }
}

}  // namespace

std::variant<ServerFlags, int> ParseServerFlags(int argc, const char* const* argv,
                                                std::ostream& out, std::ostream& err) {
  if (argc > 1 && argv[1][0] != '-') {  // ours have been taken before
    err << "denoised: unknown command " << argv[1]
        << "\n  `denoised --help` lists the commands; those that call a server, such as generate "
           "and "
           "train,\n  are commands of the program denoise.\n";
    return kUsageError;
  }
  ServerFlags flags;
  CLI::App app("Generates images with diffusion models, over gRPC.", "denoised");
  app.option_defaults()->always_capture_default();
  app.footer(kExamples);
  AddAddressFlags(app, flags);
  AddIdentityFlags(app, flags);
  AddModelFlags(app, flags);
  AddEngineFlags(app, flags);
  AddSharingFlags(app, flags);
  AddLimitFlags(app, flags);
  AddTrainingFlags(app, flags);
  AddLifeFlags(app, flags);
  app.final_callback([&flags] { CheckTogether(flags); });
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (const auto good = ParseOrExplain(app, arguments, out, err)) return *good ? 0 : kUsageError;
  if (flags.http == "off") flags.http.clear();
  return flags;
}

}  // namespace denoise
