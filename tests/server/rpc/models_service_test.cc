#include "server/rpc/models_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/base/field_violations.h"
#include "tests/server/test_models.h"

namespace denoise {
namespace {

using denoised::v1::GetModelRequest;
using denoised::v1::ListModelsRequest;
using ::testing::ElementsAre;

const ModelRepository& Models() {
  static const ModelRepository models(TestModels());
  return models;
}

GetModelRequest Get(const std::string& name) {
  GetModelRequest request;
  request.set_name(name);
  return request;
}

std::vector<std::string> Names(const denoised::v1::ListModelsResponse& response) {
  std::vector<std::string> names;
  for (const auto& model : response.models()) names.push_back(model.name());
  return names;
}

TEST(ModelsService, SaysWhatAModelIs) {
  const auto model = GetModel(Models(), Get("models/emoji"));
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->name(), "models/emoji");
  EXPECT_EQ(model->version(), "0123abcd");
  EXPECT_EQ(model->channels(), 3);
  EXPECT_EQ(model->height(), 8);
  EXPECT_EQ(model->width(), 8);
  EXPECT_EQ(model->num_train_timesteps(), 1000);
  EXPECT_EQ(model->prediction_type(), "epsilon");
  EXPECT_EQ(model->default_sampler().sampler(), denoised::v1::SAMPLER_DDPM);
  EXPECT_EQ(model->default_sampler().steps(), 20);
  EXPECT_EQ(model->source(), "DDPMPipeline / UNet2DModel");
  EXPECT_TRUE(model->supports_guidance());
  EXPECT_EQ(model->state(), denoised::v1::Model::LOADED);
}

TEST(ModelsService, SaysWhyAModelFailedAndListsItOnRequest) {
  ModelRepository models(TestModels());
  models.Fail("broken", absl::InvalidArgumentError("unet/config.json: is empty"));
  models.Unload("faces");
  const auto model = GetModel(models, Get("models/broken"));
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->state(), denoised::v1::Model::FAILED);
  EXPECT_EQ(model->error(), "unet/config.json: is empty");
  EXPECT_EQ(GetModel(models, Get("models/faces"))->state(), denoised::v1::Model::UNLOADED);
  EXPECT_EQ(GetModel(models, Get("models/faces"))->height(), 8);
  ListModelsRequest request;
  EXPECT_THAT(Names(*ListModels(models, request)),
              ElementsAre("models/emoji", "models/faces", "models/labels"));
  request.set_show_failed(true);
  EXPECT_THAT(Names(*ListModels(models, request)),
              ElementsAre("models/broken", "models/emoji", "models/faces", "models/labels"));
}

TEST(ModelsService, ListsClassesInOrderWithoutTheOneThatStandsForNone) {
  const auto model = GetModel(Models(), Get("models/emoji"));
  ASSERT_EQ(model->classes_size(), 3);
  EXPECT_EQ(model->classes(0).display_name(), "a");
  EXPECT_EQ(model->classes(1).label(), 1);
  EXPECT_EQ(model->classes(2).label(), 2);
  EXPECT_EQ(model->classes(2).display_name(), "");
}

TEST(ModelsService, AnUnconditionalModelHasNoClassesAndNoGuidance) {
  const auto model = GetModel(Models(), Get("models/faces"));
  EXPECT_EQ(model->classes_size(), 0);
  EXPECT_FALSE(model->supports_guidance());
}

TEST(ModelsService, TellsAbsentNamesFromMalformedOnes) {
  EXPECT_EQ(GetModel(Models(), Get("models/absent")).status().code(), absl::StatusCode::kNotFound);
  for (const char* name :
       {"", "emoji", "models/", "models/../emoji", "models/.hidden", "models/a/b"}) {
    const absl::Status status = GetModel(Models(), Get(name)).status();
    ASSERT_EQ(GetFieldViolations(status).size(), 1u) << name;
    EXPECT_EQ(GetFieldViolations(status)[0].field, "name");
  }
}

TEST(ModelsService, ListsEverythingInOneLargePage) {
  for (int size : {0, 3, 1000, 1'000'000}) {
    ListModelsRequest request;
    request.set_page_size(size);
    const auto response = ListModels(Models(), request);
    ASSERT_TRUE(response.ok()) << response.status();
    EXPECT_THAT(Names(*response), ElementsAre("models/emoji", "models/faces", "models/labels"));
    EXPECT_TRUE(response->next_page_token().empty());
  }
}

TEST(ModelsService, PagesContinueWhereTheOneBeforeEnded) {
  ListModelsRequest request;
  request.set_page_size(2);
  const auto first = ListModels(Models(), request);
  EXPECT_THAT(Names(*first), ElementsAre("models/emoji", "models/faces"));
  request.set_page_token(first->next_page_token());
  const auto second = ListModels(Models(), request);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_THAT(Names(*second), ElementsAre("models/labels"));
  EXPECT_TRUE(second->next_page_token().empty());

  request.set_show_failed(true);  // another list
  const auto other = ListModels(Models(), request);
  ASSERT_EQ(GetFieldViolations(other.status()).size(), 1u) << other.status();
  EXPECT_EQ(GetFieldViolations(other.status())[0].field, "page_token");
}

TEST(ModelsService, NamesEveryWrongFieldOfAListRequest) {
  ListModelsRequest request;
  request.set_page_size(-1);
  request.set_page_token("made up");
  const absl::Status status = ListModels(Models(), request).status();
  ASSERT_EQ(GetFieldViolations(status).size(), 2u);
  EXPECT_EQ(GetFieldViolations(status)[0].field, "page_size");
  EXPECT_EQ(GetFieldViolations(status)[1].field, "page_token");
}

}  // namespace
}  // namespace denoise
