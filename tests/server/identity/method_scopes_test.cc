#include "server/identity/method_scopes.h"

#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "denoised/v1/activity.pb.h"
#include "denoised/v1/datasets.pb.h"
#include "denoised/v1/generations.pb.h"
#include "denoised/v1/image_generation.pb.h"
#include "denoised/v1/models.pb.h"
#include "denoised/v1/training.pb.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

// Of the services in a file, in the form "/denoised.v1.Models/ListModels".
std::set<std::string> MethodsIn(const google::protobuf::FileDescriptor& file) {
  std::set<std::string> methods;
  for (int i = 0; i < file.service_count(); ++i) {
    const auto& service = *file.service(i);
    for (int j = 0; j < service.method_count(); ++j) {
      methods.insert("/" + service.full_name() + "/" + service.method(j)->name());
    }
  }
  return methods;
}

// Links the files of the contract that have services.
std::set<std::string> MethodsOfContract() {
  std::set<std::string> methods;
  for (const auto* file :
       {v1::ActivitySnapshot::descriptor()->file(), v1::Dataset::descriptor()->file(),
        v1::Generation::descriptor()->file(), v1::GenerateEvent::descriptor()->file(),
        v1::Model::descriptor()->file(), v1::TrainingJob::descriptor()->file()}) {
    methods.merge(MethodsIn(*file));
  }
  return methods;
}

TEST(MethodScopes, EveryRpcOfTheContractHasAScopeAndNothingElseDoes) {
  const std::set<std::string> contract = MethodsOfContract();
  std::set<std::string> table;
  for (const MethodScope& entry : MethodScopes()) {
    EXPECT_TRUE(table.emplace(entry.method).second) << entry.method << " is listed twice";
  }
  EXPECT_EQ(table, contract);
}

TEST(MethodScopes, NoServiceOfTheContractIsLeftOut) {
  size_t rpcs = 0;
  for (const auto& entry : std::filesystem::directory_iterator("proto/denoised/v1")) {
    std::ifstream file(entry.path());
    for (std::string line; std::getline(file, line);) rpcs += line.starts_with("  rpc ") ? 1 : 0;
  }
  EXPECT_EQ(rpcs, MethodsOfContract().size());
}

TEST(MethodScopes, AnUnknownMethodHasNone) {
  EXPECT_EQ(ScopeOf("/denoised.v1.Models/ListModels"), Scope::kGenerate);
  EXPECT_EQ(ScopeOf("/denoised.v1.Models/DeleteModel"), Scope::kAdmin);
  EXPECT_EQ(ScopeOf("/denoised.v1.Models/listmodels"), std::nullopt);
  EXPECT_EQ(ScopeOf(""), std::nullopt);
}

}  // namespace
}  // namespace denoise
