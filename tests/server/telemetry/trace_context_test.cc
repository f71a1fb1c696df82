#include "server/telemetry/trace_context.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

namespace denoise {
namespace {

using ::testing::MatchesRegex;

// The example of the standard.
constexpr char kTrace[] = "4bf92f3577b34da6a3ce929d0e0e4736";
constexpr char kSpan[] = "00f067aa0ba902b7";
constexpr char kHeader[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

TEST(TraceContext, AHeaderIsReadAndWrittenAsItIs) {
  const auto trace = ParseTraceparent(kHeader);
  ASSERT_TRUE(trace.has_value());
  EXPECT_EQ(trace->trace_id, kTrace);
  EXPECT_EQ(trace->span_id, kSpan);
  EXPECT_EQ(trace->parent_id, "");
  EXPECT_EQ(trace->flags, "01");
  EXPECT_EQ(TraceparentOf(*trace), kHeader);
}

TEST(TraceContext, ALaterVersionIsReadAsFarAsItIsKnown) {
  for (const std::string header :
       {"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-brings"}) {
    const auto trace = ParseTraceparent(header);
    ASSERT_TRUE(trace.has_value()) << header;
    EXPECT_EQ(TraceparentOf(*trace), kHeader) << "and passed on in our version";
  }
}

TEST(TraceContext, WhatIsNotValidIsNone) {
  for (const std::string header :
       {"", "garbage", "00", "----", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        // an unknown version, and more than version 00 has
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more",
        // capitals, other characters, zeros
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
        "0g-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        // other places of the dashes
        "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
        "00-4bf92f3577b34da6a3ce929d0e0e47360-0f067aa0ba902b7-01",
        " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
        // two headers, as HTTP joins them
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01,"
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}) {
    EXPECT_EQ(ParseTraceparent(header), std::nullopt) << header;
  }
  EXPECT_EQ(ParseTraceparent(std::string(1 << 20, '0')), std::nullopt);
  EXPECT_EQ(ParseTraceparent(std::string_view("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"
                                              "-0\0",
                                              55)),
            std::nullopt);
}

TEST(TraceContext, ASpanContinuesTheCallersTrace) {
  const TraceContext trace = BeginSpan(kHeader);
  EXPECT_EQ(trace.trace_id, kTrace);
  EXPECT_EQ(trace.parent_id, kSpan);
  EXPECT_NE(trace.span_id, kSpan);
  EXPECT_THAT(trace.span_id, MatchesRegex("[0-9a-f]{16}"));
  EXPECT_EQ(trace.flags, "01");
}

TEST(TraceContext, ASpanWithoutATraceBeginsOne) {
  std::set<std::string> traces;
  for (const char* header : {"", "garbage"}) {
    const TraceContext trace = BeginSpan(header);
    EXPECT_THAT(trace.trace_id, MatchesRegex("[0-9a-f]{32}"));
    EXPECT_EQ(trace.parent_id, "");
    EXPECT_EQ(trace.flags, "00");
    EXPECT_TRUE(ParseTraceparent(TraceparentOf(trace)).has_value());
    traces.insert(trace.trace_id);
  }
  EXPECT_EQ(traces.size(), 2u);
}

}  // namespace
}  // namespace denoise
