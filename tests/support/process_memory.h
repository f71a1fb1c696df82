// The resident memory of this process, in MiB.
#pragma once

namespace denoise {

double ResidentMebibytes();

// The most since the process began, or since the last ResetPeakMemory().
double PeakMebibytes();

// Gives back what was freed, so that it does not count as resident, and forgets the peak.
void ResetPeakMemory();

}  // namespace denoise
