#include "server/http/openai/server_sent_event.h"

#include <gtest/gtest.h>

namespace denoise::openai {
namespace {

TEST(ServerSentEvent, HasANameAndData) {
  EXPECT_EQ(ServerSentEvent("image_edit.completed", R"({"a": 1})"),
            "event: image_edit.completed\ndata: {\"a\": 1}\n\n");
  EXPECT_EQ(ServerSentEvent("error", ""), "event: error\ndata: \n\n");
}

TEST(ServerSentEvent, EveryLineOfDataIsALineOfItsOwn) {
  for (const char* data : {"one\ntwo", "one\rtwo", "one\r\ntwo"}) {
    EXPECT_EQ(ServerSentEvent("x", data), "event: x\ndata: one\ndata: two\n\n");
  }
  EXPECT_EQ(ServerSentEvent("x", "\n\nevent: y\n"),
            "event: x\ndata: \ndata: \ndata: event: y\ndata: \n\n");
}

}  // namespace
}  // namespace denoise::openai
