#include "server/http/openai/multipart_form.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "absl/strings/str_cat.h"

namespace denoise::openai {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

constexpr char kType[] = "multipart/form-data; boundary=XX";

std::string Part(const std::string& headers, const std::string& data) {
  return absl::StrCat("--XX\r\n", headers, "\r\n\r\n", data, "\r\n");
}

std::string Field(const std::string& name, const std::string& data) {
  return Part(absl::StrCat("Content-Disposition: form-data; name=\"", name, "\""), data);
}

using Read = std::vector<std::pair<std::string, std::string>>;

Read ReadAll(const std::string& type, const std::string& body) {
  const auto parts = ReadMultipartForm(type, body);
  EXPECT_TRUE(parts.ok()) << parts.status();
  Read read;
  if (!parts.ok()) return read;
  for (const FormPart& part : *parts) read.emplace_back(part.name, part.data);
  return read;
}

TEST(MultipartForm, HasItsPartsInOrder) {
  const std::string body = absl::StrCat(
      Field("prompt", "a\r\n--X fox"),
      Part("content-disposition: form-data; filename=\"a;b \\\"c\\\".png\"; name=image\r\n"
           "Content-Type: image/png\r\nContent-Length: 3",
           std::string("\0\r\n", 3)),
      Field("prompt", ""), "--XX--\r\n");
  EXPECT_THAT(ReadAll(kType, body),
              ElementsAre(Pair("prompt", "a\r\n--X fox"), Pair("image", std::string("\0\r\n", 3)),
                          Pair("prompt", "")));
}

TEST(MultipartForm, TakesBoundariesAsClientsWriteThem) {
  const std::string body =
      "------x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n------x--";
  for (const char* type : {"multipart/form-data; boundary=----x",
                           "Multipart/Form-Data;charset=utf-8; boundary=\"----x\"",
                           "multipart/form-data ; Boundary=----x"}) {
    EXPECT_THAT(ReadAll(type, body), ElementsAre(Pair("a", "b"))) << type;
  }
}

TEST(MultipartForm, RefusesWhatIsNone) {
  const std::string end = "--XX--";
  const struct {
    const char* what;
    std::string type;
    std::string body;
    const char* error;
  } cases[] = {
      {"no boundary", "multipart/form-data", Field("a", "b") + end, "boundary"},
      {"two boundaries", "multipart/form-data; boundary=XX; boundary=YY", Field("a", "b") + end,
       "boundary"},
      {"a long boundary", "multipart/form-data; boundary=" + std::string(71, 'a'), "", "boundary"},
      {"a strange boundary", "multipart/form-data; boundary=\"X\\\"X\"", "", "boundary"},
      {"another type", "multipart/mixed; boundary=XX", Field("a", "b") + end, "boundary"},
      {"an empty body", kType, "", "begin with its boundary"},
      {"a preamble", kType, "hello\r\n" + Field("a", "b") + end, "begin with its boundary"},
      {"no end", kType, Field("a", "b"), "ends within a part"},
      {"an end within a part", kType, "--XX\r\nContent-Disposition: form-data; name=a\r\n\r\nb",
       "ends within a part"},
      {"more after the end", kType, Field("a", "b") + end + "\r\nmore", "does not end its line"},
      {"no headers", kType, "--XX\r\n\r\nb\r\n--XX--", "no end"},
      {"no name", kType, Part("Content-Disposition: form-data", "b") + end, "Content-Disposition"},
      {"two names", kType, Part("Content-Disposition: form-data; name=a; name=b", "b") + end,
       "Content-Disposition"},
      {"two dispositions", kType,
       Part("Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b",
            "b") +
           end,
       "Content-Disposition"},
      {"an attachment", kType, Part("Content-Disposition: attachment; name=a", "b") + end,
       "Content-Disposition"},
      {"a header without a name", kType, Part(": form-data; name=a", "b") + end, "malformed"},
      {"base64", kType,
       Part("Content-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64", "b") +
           end,
       "Content-Transfer-Encoding"},
      {"long headers", kType, Field(std::string(5000, 'a'), "b") + end, "4096"},
  };
  for (const auto& test : cases) {
    const absl::Status status = ReadMultipartForm(test.type, test.body).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << test.what;
    EXPECT_THAT(std::string(status.message()), HasSubstr(test.error)) << test.what;
  }
}

TEST(MultipartForm, LimitsTheNumberOfParts) {
  std::string body;
  for (int i = 0; i < 64; ++i) body += Field("a", "b");
  EXPECT_EQ(ReadAll(kType, body + "--XX--").size(), 64u);
  EXPECT_THAT(
      std::string(ReadMultipartForm(kType, body + Field("a", "b") + "--XX--").status().message()),
      HasSubstr("more than 64 parts"));
}

}  // namespace
}  // namespace denoise::openai
