// Compiled once per instruction set, apart from the recurrences: see native/isa.cpp.
#include "decoder.h"

namespace throughtime::TT_ISA {

void run_decode(const decode::Plan& plan, const decode::Call& call) { Decoder(plan, call).run(); }

void run_bend(decode::Activation kind, long count, const float* from, float* to) {
    bend(kind, count, from, to);
}

}  // namespace throughtime::TT_ISA
