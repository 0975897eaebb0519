// Compiled once per instruction set, apart from the recurrences: see native/isa.cpp.
#include "recurrent.h"
#include "search.h"
#include "transformer.h"
#include "write.h"

namespace throughtime::TT_ISA {

namespace {

template <class Decoder, class Plan>
void run(const Plan& plan, const decode::Call& call) {
    if (call.search == nullptr)
        Writer<Decoder>(plan, call).run();
    else
        Searcher<Decoder>(plan, call).run();
}

}  // namespace

void run_decode(const decode::Plan& plan, const decode::Call& call) {
    if (plan.kind == decode::transformer)
        run<Transformer>(static_cast<const decode::TransformerPlan&>(plan), call);
    else
        run<Recurrent>(static_cast<const decode::RecurrentPlan&>(plan), call);
}

void run_bend(decode::Activation kind, long count, const float* from, float* to) {
    bend(kind, count, from, to);
}

}  // namespace throughtime::TT_ISA
