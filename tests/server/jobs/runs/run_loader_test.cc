#include "server/jobs/runs/run_loader.h"

#include <gtest/gtest.h>

#include "core/io/new_model.h"
#include "server/jobs/settings/training_settings.h"
#include "server/models/model_loader.h"

namespace denoise {
namespace {

TEST(RunLoader, GridsSpreadOverTheClasses) {
  NewModelOptions options = {.height = 16, .width = 16, .block_out_channels = {8}};
  options.attention_levels.emplace();
  options.class_names = {"cat", "dog"};
  const ModelInfo model = InfoOf(NewModel(options)->description());
  denoised::v1::Dataset data_set;
  for (const char* name : {"cat", "dog"}) {
    data_set.mutable_report()->add_classes()->set_display_name(name);
  }
  denoised::v1::TrainingSettings request;
  request.mutable_new_network();
  request.set_max_steps(10);
  const auto settings = ResolveTraining(request, {.model = model, .data_set = data_set});
  ASSERT_TRUE(settings.ok()) << settings.status();

  const auto grid = GridOf(*settings, model);

  ASSERT_TRUE(grid.ok()) << grid.status();
  EXPECT_EQ(grid->count, 16);
  EXPECT_EQ(grid->conditionings.size(), 2u);
  EXPECT_EQ(grid->conditionings[0].guidance.scale, 2);
  EXPECT_FALSE(grid->plan->evaluations.empty());
}

}  // namespace
}  // namespace denoise
