// Errors as the API's clients expect them.
#pragma once

#include <string>

#include "google/rpc/status.pb.h"

namespace denoise::openai {

// Of a RESOURCE_EXHAUSTED that is about the size of the request.
inline constexpr char kTooLargeReason[] = "REQUEST_TOO_LARGE";

struct ApiError {
  int http_status = 500;  // which clients turn into the class of an exception
  std::string message;
  std::string param;  // the first field that is wrong; empty where it is none
  std::string code;   // what programs tell errors apart by; may be empty
};

// Of ErrorInfo; empty where there is none.
std::string ReasonOf(const google::rpc::Status& status);

// What an RPC ended with. Fields have the names that the API gives them.
ApiError ApiErrorOf(const google::rpc::Status& status);

// {"error": {"message", "type", "param", "code"}}
std::string ErrorJson(const ApiError& error);

}  // namespace denoise::openai
