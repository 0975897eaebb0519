// What Python sees of the decoder.
#pragma once

#include <nanobind/nanobind.h>

#include "../native/table.h"
#include "plan.h"

namespace throughtime::decode {

// `table` gives the chosen instruction set's.
void bind(nanobind::module_& module, const Table* (*table)());

}  // namespace throughtime::decode
