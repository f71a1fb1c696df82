// Training jobs, evaluations, data sets and generations as text for people, and as JSON for
// scripts.
#pragma once

#include <google/protobuf/message.h>

#include <string>
#include <vector>

#include "denoised/v1/datasets.pb.h"
#include "denoised/v1/generations.pb.h"
#include "denoised/v1/training.pb.h"

namespace denoise {

// In protobuf's JSON mapping, in one line, with the names of the contract and all fields.
std::string MessageJson(const google::protobuf::Message& message);

bool IsOver(const denoised::v1::TrainingJob& job);  // SUCCEEDED, FAILED or CANCELLED

// "running", "cancelling".
std::string StateText(denoised::v1::TrainingJob::State state);
// A reason from the server, with control characters escaped.
std::string StateReasonText(const std::string& reason);

// One line for people about an event of a training or evaluation job; empty if there is nothing to
// say.
std::string EventText(const denoised::v1::TrainingEvent& event, bool evaluates);

// One line about what a job is now: "job 7 is paused at step 500 of 2000; ...". A job that was asked
// to pause may still be running.
std::string JobLine(const denoised::v1::TrainingJob& job);
std::string PausingJobLine(const denoised::v1::TrainingJob& job);
std::string GenerationLine(const denoised::v1::Generation& generation);
// With the command that continues it.
std::string PausedText(const denoised::v1::PauseGenerationResponse& paused,
                       const std::string& command);

// How long `job` takes if it is as fast as `other` was, for people; empty if the two do not train
// the same network, or nothing is known of `other`.
std::string TrainingEstimate(const denoised::v1::TrainingJob& job,
                             const denoised::v1::TrainingJob& other);

// With a line behind it for each job whose state has a reason, unless the job is over.
std::string JobTable(const std::vector<denoised::v1::TrainingJob>& jobs);
// The state and results of a job. JobDetails adds its settings.
std::string JobSummary(const denoised::v1::TrainingJob& job);
std::string JobDetails(const denoised::v1::TrainingJob& job);
std::string CheckpointTable(const std::vector<denoised::v1::Checkpoint>& checkpoints);

std::string DatasetTable(const std::vector<denoised::v1::Dataset>& datasets);
// The report, or the state of the upload before there is one.
std::string DatasetDetails(const denoised::v1::Dataset& dataset);

std::string GenerationTable(const std::vector<denoised::v1::Generation>& generations);
std::string GenerationDetails(const denoised::v1::Generation& generation);

// One line of JSON without a newline: protobuf's mapping with the names of the .proto file. The
// bytes of pictures are dropped.
std::string ResourceJson(denoised::v1::TrainingJob job);
std::string ResourceJson(denoised::v1::Dataset dataset);
std::string ResourceJson(const denoised::v1::Checkpoint& checkpoint);
std::string ResourceJson(const denoised::v1::Generation& generation);
std::string ResourceJson(denoised::v1::PauseGenerationResponse paused);  // without the token

}  // namespace denoise
