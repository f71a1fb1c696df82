// The command line of `denoised`.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <map>
#include <string>
#include <variant>
#include <vector>

namespace denoise {

// Where the defaults are. --help says what each is for.
struct ServerFlags {
  std::string models;
  double poll_models_seconds = 2;  // 0: looks at the folder at the start only
  int model_memory_mib = 0;        // 0: no limit
  std::string adapters;            // empty: only those beside models
  int adapter_memory_mib = 2048;   // 0: no limit
  bool manage_models = false;      // allows LoadModel, UnloadModel and DeleteModel
  std::string listen = "127.0.0.1:50051";
  std::string http = "127.0.0.1:8080";  // empty: none
  std::vector<std::string> http_allow_origins;
  std::string tls_cert;
  std::string tls_key;
  std::string tls_client_ca;  // file; empty: clients need no certificate
  std::string tls_client_scopes = "generate";
  std::string tokens;    // file; empty: no credentials are asked for
  std::string jwt_jwks;  // file; empty: no JWT is accepted
  std::string jwt_issuer;
  std::string jwt_audience;
  int jwt_leeway_seconds = 30;
  std::string tenant_header;  // in lower case; empty: none
  std::string metrics_access = "admin";
  bool reflection = true;

  std::string device = "auto";
  std::string dtype = "float32";
  std::map<std::string, std::string> model_dtypes;  // of single models, by id
  std::string text_encoders = "device";
  int threads = 0;  // 0: the cores this process may use
  bool batch_invariant = true;
  int max_batch_rows = 16;
  int max_active_rows = 64;
  int queue_size = 64;
  int device_timeout_seconds = 600;  // 0: none
  std::string batching = "evaluation";
  double batch_efficiency = 0.98;  // 1: batches grow to max_batch_rows
  std::string cost_file;           // empty: in `state`, if there is one; "off": none
  std::map<std::string, double> tenant_weights;
  int tenant_queue_size = 0;      // 0: no limit of its own
  double tenant_max_seconds = 0;  // 0: no limit

  int max_steps = 1000;
  int max_images_per_request = 64;
  int64_t max_pixels = 64 << 20;
  int64_t max_image_pixels = 4 << 20;
  int64_t max_picture_pixels = 16 << 20;
  int max_frame_bytes = 4'000'000;
  int max_receive_bytes = 4 << 20;
  int max_concurrent_streams = 128;
  int max_connections = 1024;
  int max_connections_per_address = 256;
  int max_connection_rate = 64;  // a second from one address
  int memory_limit_mib = 0;      // 0: that of the container or machine
  int memory_quota_mib = 512;
  int max_unread_mib = 4096;
  int max_write_seconds = 60;
  int keep_results_seconds = 600;  // of requests with a request_id or DETACH
  int keep_results_mib = 256;
  int max_detached = 32;

  std::string state;             // empty: no training
  double training_share = 0.25;  // of a device's time, while requests wait for it
  int max_running_jobs = 1;
  int ranks = 1;      // that train a job together
  int min_ranks = 0;  // 0: ranks
  int rank_wait_seconds = 60;
  int rank_timeout_seconds = 30;
  std::string rank_listen = "0.0.0.0:29500";
  int max_waiting_jobs = 100;
  int64_t max_micro_batch_pixels = 4 << 20;
  int max_datasets = 100;
  int max_dataset_gib = 20;
  int max_datasets_gib = 100;
  std::string inception;

  int drain_seconds = 30;
  std::string handover_key;  // file; empty: generations are not handed over
  int paused_token_seconds = 7 * 86'400;
  std::string log_level = "info";
  std::string access_log = "off";  // or "stderr", or a file
  int access_log_mib = 64;         // of one file
  int access_log_files = 4;        // that were full, and are kept
};

// The flags, or the code to exit with: 0 after --help or --version, which print to `out`; 2 for a
// command line that is wrong, after saying on `err` what to do about it.
std::variant<ServerFlags, int> ParseServerFlags(int argc, const char* const* argv,
                                                std::ostream& out, std::ostream& err);

}  // namespace denoise
