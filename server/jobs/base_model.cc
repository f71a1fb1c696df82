#include "server/jobs/base_model.h"
