#include "server/requests/request_digest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace denoise {
namespace {

using denoised::v1::GenerateRequest;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

GenerateRequest Request() {
  GenerateRequest request;
  request.set_model("models/faces");
  request.set_seed(1);
  request.mutable_sampler()->set_steps(5);
  request.add_class_weights()->set_weight(1);
  request.mutable_start()->mutable_image()->mutable_picture()->set_data("a picture");
  request.set_request_id("a");
  return request;
}

std::vector<std::string> DifferencesAfter(void (*change)(GenerateRequest&)) {
  GenerateRequest changed = Request();
  change(changed);
  return Differences(DigestOf(Request()), DigestOf(changed));
}

TEST(RequestDigest, NamesTheFieldsThatDiffer) {
  EXPECT_THAT(DifferencesAfter([](GenerateRequest&) {}), IsEmpty());
  EXPECT_THAT(DifferencesAfter([](GenerateRequest& r) { r.set_seed(2); }), ElementsAre("seed"));
  EXPECT_THAT(DifferencesAfter([](GenerateRequest& r) { r.clear_seed(); }), ElementsAre("seed"));
  EXPECT_THAT(DifferencesAfter([](GenerateRequest& r) { r.set_count(2); }), ElementsAre("count"));
  EXPECT_THAT(DifferencesAfter([](GenerateRequest& r) {
                r.mutable_start()->mutable_image()->mutable_picture()->set_data("another");
                r.add_class_weights()->set_weight(1);
              }),
              ElementsAre("class_weights", "start"));
  EXPECT_THAT(DifferencesAfter([](GenerateRequest& r) {
                r.mutable_inpainting()->set_mask_channel(denoised::v1::MASK_CHANNEL_TRANSPARENCY);
              }),
              ElementsAre("inpainting"));
}

TEST(RequestDigest, TheIdIsNoPartOfTheRequest) {
  EXPECT_THAT(DifferencesAfter([](GenerateRequest& r) { r.set_request_id("b"); }), IsEmpty());
  EXPECT_THAT(DifferencesAfter([](GenerateRequest& r) { r.set_accept_handover(true); }), IsEmpty());
}

TEST(RequestDigest, NoOnDisconnectIsCancel) {
  EXPECT_THAT(DifferencesAfter([](GenerateRequest& r) {
                r.set_on_disconnect(denoised::v1::ON_DISCONNECT_CANCEL);
              }),
              IsEmpty());
  EXPECT_THAT(DifferencesAfter([](GenerateRequest& r) {
                r.set_on_disconnect(denoised::v1::ON_DISCONNECT_DETACH);
              }),
              ElementsAre("on_disconnect"));
}

}  // namespace
}  // namespace denoise
