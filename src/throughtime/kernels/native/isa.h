// Which instruction sets were compiled in, and which of them this processor has.
#pragma once

#include <vector>

#include "table.h"

namespace throughtime {

// The best first. The last one runs on every processor that the build is for.
std::vector<const Table*> available();

}  // namespace throughtime
