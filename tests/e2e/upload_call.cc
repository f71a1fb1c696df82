#include "tests/e2e/upload_call.h"

#include <grpcpp/support/sync_stream.h>
#include <gtest/gtest.h>

#include "absl/strings/escaping.h"
#include "core/base/sha256.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

constexpr size_t kChunkBytes = size_t{256} << 10;

std::string Sha256Of(const std::string& bytes) {
  Sha256 hash;
  hash.Update(bytes);
  return absl::HexStringToBytes(hash.Finish());
}

}  // namespace

v1::UploadHeader UploadHeaderOf(const std::string& name, v1::DatasetFormat format,
                                const std::string& bytes) {
  v1::UploadHeader header;
  header.set_name("datasets/" + name);
  header.set_format(format);
  header.set_total_bytes(static_cast<int64_t>(bytes.size()));
  header.set_sha256(Sha256Of(bytes));
  return header;
}

std::vector<v1::UploadDatasetRequest> UploadMessages(const v1::UploadHeader& header,
                                                     std::string_view bytes) {
  std::vector<v1::UploadDatasetRequest> messages(1);
  *messages[0].mutable_header() = header;
  for (auto offset = static_cast<size_t>(header.offset()); offset < bytes.size();
       offset += kChunkBytes) {
    messages.emplace_back().mutable_chunk()->set_data(
        std::string(bytes.substr(offset, kChunkBytes)));
  }
  return messages;
}

UploadResult CallUpload(v1::Datasets::Stub& stub,
                        const std::vector<v1::UploadDatasetRequest>& messages) {
  grpc::ClientContext context;
  UploadResult result;
  const auto writer = stub.UploadDataset(&context, &result.data_set);
  for (const v1::UploadDatasetRequest& message : messages) {
    if (!writer->Write(message)) break;  // the answer is there already
  }
  writer->WritesDone();
  result.status = writer->Finish();
  return result;
}

void UploadReady(v1::Datasets::Stub& stub, const std::string& name, v1::DatasetFormat format,
                 const std::string& bytes) {
  const UploadResult result =
      CallUpload(stub, UploadMessages(UploadHeaderOf(name, format, bytes), bytes));
  ASSERT_TRUE(result.status.ok()) << result.status.error_message();
  ASSERT_EQ(result.data_set.state(), v1::Dataset::READY);
}

}  // namespace denoise
