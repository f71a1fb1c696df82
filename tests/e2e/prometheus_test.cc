// The dashboard and the rules against a real Prometheus that scrapes real servers under load: every
// query of the dashboard and every recording rule must return data.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/measured_server.h"
#include "tests/e2e/prometheus_programs.h"
#include "tests/support/http_get.h"
#include "tests/support/subprocess.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

using Json = nlohmann::json;

// Long enough to hold some scrapes of a busy machine.
constexpr char kRateInterval[] = "30s";

std::string PercentEncoded(const std::string& text) {
  std::string encoded;
  for (const unsigned char c : text) {
    if (absl::ascii_isalnum(c)) {
      encoded += static_cast<char>(c);
    } else {
      absl::StrAppend(&encoded, "%", absl::Hex(c, absl::kZeroPad2));
    }
  }
  return encoded;
}

// A Prometheus on loopback that scrapes the servers every second, and evaluates our rules as often.
class Prometheus {
 public:
  explicit Prometheus(const MeasuredServers& servers) {
    const std::string config = (folder_.path() / "prometheus.yml").string();
    std::ofstream(config) << "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
                          << "rule_files: ["
                          << std::filesystem::absolute("deploy/prometheus/rules.yml") << "]\n"
                          << "scrape_configs:\n"
                          << "  - job_name: denoised\n"
                          << "    static_configs: [{targets: ['" << servers.main().http_address()
                          << "']}]\n"
                          << "  - job_name: denoised-tls\n"
                          << "    scheme: https\n"
                          << "    tls_config: {ca_file: '" << servers.certificate() << "'}\n"
                          << "    static_configs: [{targets: ['"
                          << servers.with_tls().http_address() << "']}]\n";
    auto process = Subprocess::Start({PrometheusProgram("prometheus"), "--config.file=" + config,
                                      "--storage.tsdb.path=" + (folder_.path() / "data").string(),
                                      "--web.listen-address=127.0.0.1:0"});
    EXPECT_TRUE(process.ok()) << process.status();
    process_ = *std::move(process);
    EXPECT_TRUE(Eventually([&] { return FindAddress(); })) << Log();
    EXPECT_TRUE(Eventually([&] { return HttpGet(address_, "/-/ready").ok(); })) << Log();
  }
  ~Prometheus() {
    process_->Signal(SIGTERM);
    EXPECT_TRUE(process_->Wait(kPatience).has_value());
  }

  // The values of an instant query.
  std::vector<double> Query(const std::string& expression) const {
    const auto answer = HttpGet(address_, "/api/v1/query?query=" + PercentEncoded(expression));
    EXPECT_TRUE(answer.ok()) << expression << ": " << answer.status();
    std::vector<double> values;
    if (!answer.ok()) return values;
    const Json parsed = Json::parse(*answer);
    for (const Json& series : parsed["data"]["result"]) {
      values.push_back(std::strtod(series["value"][1].get<std::string>().c_str(), nullptr));
    }
    return values;
  }

  Json Rules() const {
    const auto answer = HttpGet(address_, "/api/v1/rules");
    EXPECT_TRUE(answer.ok()) << answer.status();
    return answer.ok() ? Json::parse(*answer)["data"]["groups"] : Json::array();
  }

  std::string Log() const { return process_->standard_error().text(); }

 private:
  // It says so in its log: ... msg="Listening on" address=127.0.0.1:43211
  bool FindAddress() {
    const std::string log = Log(), start = "msg=\"Listening on\" address=";
    const size_t found = log.find(start);
    if (found == std::string::npos) return false;
    const size_t begin = found + start.size();
    address_ = log.substr(begin, log.find_first_of(" \n", begin) - begin);
    return true;
  }

  TempDir folder_;
  std::unique_ptr<Subprocess> process_;
  std::string address_;
};

class PrometheusTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    servers_ = std::make_unique<MeasuredServers>();
    servers_->MakeRequests();  // what costs are, so that deadlines can be refused
    servers_->StartTraining();
    prometheus_ = std::make_unique<Prometheus>(*servers_);
    servers_->KeepBusy();
  }
  static void TearDownTestSuite() {
    prometheus_.reset();
    servers_.reset();
  }

  // Waits until each of `queries`, by what it is for, has returned a number.
  static void ExpectData(std::map<std::string, std::string> queries) {
    (void)Eventually([&] {
      std::erase_if(queries, [](const auto& query) {
        const std::vector<double> values = prometheus_->Query(query.second);
        return std::any_of(values.begin(), values.end(), [](double v) { return !std::isnan(v); });
      });
      return queries.empty();
    });
    for (const auto& [what, query] : queries) ADD_FAILURE() << "no data: " << what << ": " << query;
  }

  static inline std::unique_ptr<MeasuredServers> servers_;
  static inline std::unique_ptr<Prometheus> prometheus_;
};

TEST_F(PrometheusTest, EveryQueryOfTheDashboardReturnsData) {
  std::map<std::string, std::string> queries;
  const Json dashboard = Json::parse(ReadFile("deploy/grafana/denoised.json"));
  for (const Json& panel : dashboard["panels"]) {
    if (panel["type"] == "row") continue;
    ASSERT_FALSE(panel["targets"].empty()) << panel["title"];
    for (const Json& target : panel["targets"]) {
      const std::string query = absl::StrReplaceAll(
          target["expr"].get<std::string>(),
          {{"$__rate_interval", kRateInterval}, {"$job", ".*"}, {"$instance", ".*"}});
      EXPECT_EQ(query.find('$'), std::string::npos) << query;
      queries[absl::StrCat(panel["title"].get<std::string>(), " ",
                           target["refId"].get<std::string>())] = query;
    }
  }
  EXPECT_GT(queries.size(), 50u);
  ExpectData(std::move(queries));
}

TEST_F(PrometheusTest, TheVariablesOfTheDashboardHaveValues) {
  for (const std::string label : {"job", "instance"}) {
    ExpectData({{label, absl::StrCat("count by (", label, ") (denoised_build_info)")}});
  }
}

TEST_F(PrometheusTest, EveryRecordingRuleReturnsDataAndNoRuleFails) {
  std::map<std::string, std::string> queries;
  for (const Json& group : prometheus_->Rules()) {
    for (const Json& rule : group["rules"]) {
      if (rule["type"] == "recording") queries[rule["name"]] = rule["name"];
    }
  }
  EXPECT_GT(queries.size(), 5u);
  ExpectData(std::move(queries));
  EXPECT_TRUE(Eventually([&] {  // each has been evaluated
    for (const Json& group : prometheus_->Rules()) {
      for (const Json& rule : group["rules"]) {
        if (rule["health"] == "unknown") return false;
        EXPECT_EQ(rule["health"], "ok") << rule.dump();
      }
    }
    return true;
  }));
}

}  // namespace
}  // namespace denoise
