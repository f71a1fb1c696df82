// Training jobs, evaluations and data sets as text for people, and as JSON for scripts.
#pragma once

#include <string>
#include <vector>

#include "denoised/v1/datasets.pb.h"
#include "denoised/v1/training.pb.h"

namespace denoise {

// "running", "cancelling".
std::string StateText(denoised::v1::TrainingJob::State state);
// A reason as a server gives it, fit for a terminal.
std::string StateReasonText(const std::string& reason);

// A line for a person, of a job that trains or of one that evaluates; empty for what has none.
std::string EventText(const denoised::v1::TrainingEvent& event, bool evaluates);

std::string JobTable(const std::vector<denoised::v1::TrainingJob>& jobs);
// Where a job stands, and what has come of it; JobDetails tells its settings, too.
std::string JobSummary(const denoised::v1::TrainingJob& job);
std::string JobDetails(const denoised::v1::TrainingJob& job);
std::string CheckpointTable(const std::vector<denoised::v1::Checkpoint>& checkpoints);

std::string DatasetTable(const std::vector<denoised::v1::Dataset>& datasets);
// The report, or what there is instead of one.
std::string DatasetDetails(const denoised::v1::Dataset& dataset);

// One line of JSON without a newline, in protobuf's mapping with the names of the .proto file. Bytes of
// pictures are left out.
std::string ResourceJson(denoised::v1::TrainingJob job);
std::string ResourceJson(denoised::v1::Dataset dataset);
std::string ResourceJson(const denoised::v1::Checkpoint& checkpoint);

}  // namespace denoise
