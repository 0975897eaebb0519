#include "binding.h"

#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <tuple>

#include "move.h"

namespace nb = nanobind;

namespace throughtime::decode {
namespace {

using Pointer = std::uintptr_t;  // 0 where something is absent

template <class T>
T* at(Pointer address) {
    return reinterpret_cast<T*>(address);
}

// weights, scales, bias, rows, depth
using GivenMatrix = std::tuple<Pointer, Pointer, Pointer, long, long>;
Matrix matrix(const GivenMatrix& given) {
    const auto [weights, scales, bias, rows, depth] = given;
    return {at<const void>(weights), at<const float>(scales), at<const float>(bias), rows, depth};
}

// weight, bias, epsilon, rms
using GivenNorm = std::tuple<Pointer, Pointer, float, bool>;
Norm norm(const GivenNorm& given) {
    const auto [weight, bias, epsilon, rms] = given;
    return {at<const float>(weight), at<const float>(bias), epsilon, rms};
}

// keys, values, counts, states, which memory, its keys, values, steps seen, how many steps
using GivenCache =
    std::tuple<Pointer, Pointer, Pointer, Pointer, Pointer, Pointer, Pointer, Pointer, long>;
Cache cache(const GivenCache& given) {
    const auto [keys, values, counts, states, memory, its_keys, its_values, seen, steps] = given;
    return {at<float>(keys),          at<float>(values),
            at<std::int64_t>(counts), at<float>(states),
            at<std::int64_t>(memory), at<const float>(its_keys),
            at<const float>(its_values), at<const float>(seen), steps};
}

// greedy, temperature, top-k, top-p, min-p, repetition penalty, uniform numbers, tokens seen
using GivenSampling = std::tuple<bool, double, long, double, double, double, Pointer, Pointer>;
Sampling sampling(const GivenSampling& given) {
    const auto [greedy, temperature, top_k, top_p, min_p, penalty, uniforms, seen] = given;
    return {greedy, temperature, top_p, min_p, penalty, top_k, at<const double>(uniforms),
            at<unsigned char>(seen)};
}

// cache, places, rows, threads, tokens, logits, scratch
using GivenCall = std::tuple<GivenCache, Pointer, long, int, Pointer, Pointer, Pointer>;
Call begun(const Plan& plan, const GivenCall& given) {
    const auto [remembered, places, rows, threads, tokens, logits, scratch] = given;
    Call call;
    call.cache = cache(remembered);
    call.places = at<const std::int64_t>(places);
    call.rows = rows;
    call.threads = threads;
    call.tokens = at<std::int64_t>(tokens);
    call.logits = at<float>(logits);
    call.scratch = at<float>(scratch);
    for (long r = 0; r < rows; ++r)
        if (call.tokens[r] < 0 || call.tokens[r] >= plan.tokens)
            throw nb::index_error("a token id outside the vocabulary");
    return call;
}

const Table* (*chosen)() = nullptr;

void run(const Plan& plan, const Call& call) {
    nb::gil_scoped_release release;
    chosen()->decode(plan, call);
}

void step(const Plan& plan, const GivenCall& given) { run(plan, begun(plan, given)); }

void write(const Plan& plan, const GivenCall& given, long steps, Pointer stops, Pointer written,
           Pointer log_probs, const GivenSampling& how) {
    Call call = begun(plan, given);
    call.steps = steps;
    call.stops = at<const unsigned char>(stops);
    call.written = at<std::int64_t>(written);
    call.log_probs = at<float>(log_probs);
    call.sampling = sampling(how);
    run(plan, call);
}

// tokens, lengths, log probabilities, scores, whether it ended
using GivenOutputs = std::tuple<Pointer, Pointer, Pointer, Pointer, Pointer>;
bool search(const Plan& plan, const GivenCall& given, long steps, Pointer stops, long stop_count,
            long beams, long n_best, double penalty, const GivenOutputs& outputs) {
    const auto [tokens, lengths, log_probs, scores, ended] = outputs;
    bool diverged = false;
    const Search search{beams, n_best, stop_count, penalty, at<std::int64_t>(tokens),
                        at<std::int64_t>(lengths), at<float>(log_probs), at<float>(scores),
                        at<bool>(ended), &diverged};
    Call call = begun(plan, given);
    call.steps = steps;
    call.stops = at<const unsigned char>(stops);
    call.search = &search;
    run(plan, call);
    return !diverged;
}

void move_all(const Plan& plan, const GivenCache& from, const std::vector<long>& sources,
              const GivenCache& to, const std::vector<long>& targets) {
    const Cache one = cache(from), other = cache(to);
    for (std::size_t i = 0; i < sources.size(); ++i)
        if (plan.kind == transformer)
            move(static_cast<const TransformerPlan&>(plan), one, sources[i], other, targets[i]);
        else
            move(static_cast<const RecurrentPlan&>(plan), one, sources[i], other, targets[i]);
}

void bind_transformer(nb::module_& module) {
    nb::class_<TransformerPlan, Plan>(module, "TransformerPlan")
        .def(nb::init<>())
        .def_rw("heads", &TransformerPlan::heads)
        .def_rw("kv_heads", &TransformerPlan::kv_heads)
        .def_rw("head_size", &TransformerPlan::head_size)
        .def_rw("hidden", &TransformerPlan::hidden)
        .def_rw("horizon", &TransformerPlan::horizon)
        .def_rw("length", &TransformerPlan::length)
        .def_rw("norm_first", &TransformerPlan::norm_first)
        .def("activation",
             [](TransformerPlan& p, int kind) { p.activation = static_cast<Activation>(kind); })
        .def("positions",
             [](TransformerPlan& p, Pointer learned, Pointer waves, Pointer turns, Pointer slopes) {
                 p.learned = at<const float>(learned);
                 p.waves = at<const double>(waves);
                 p.turns = at<const double>(turns);
                 p.slopes = at<const float>(slopes);
             })
        .def("block",
             [](TransformerPlan& p, const GivenNorm& n1, const GivenMatrix& in,
                const GivenMatrix& out, const GivenNorm& n2, const GivenMatrix& query,
                const GivenMatrix& mixed, const GivenNorm& n3, const GivenMatrix& up,
                const GivenMatrix& down) {
                 p.blocks.push_back({norm(n1), matrix(in), matrix(out), norm(n2), matrix(query),
                                     matrix(mixed), norm(n3), matrix(up), matrix(down)});
             })
        .def("last_norm",
             [](TransformerPlan& p, const GivenNorm& last) { p.last_norm = norm(last); })
        .def("scratch", [](const TransformerPlan& p, long rows, long threads, long memory_steps) {
            return TransformerScratch(p, rows, threads, memory_steps).size();
        });
}

void bind_recurrent(nb::module_& module) {
    nb::class_<RecurrentPlan, Plan>(module, "RecurrentPlan")
        .def(nb::init<>())
        .def_rw("hidden", &RecurrentPlan::hidden)
        .def_rw("memory_size", &RecurrentPlan::memory_size)
        .def("cell", [](RecurrentPlan& p, int code) { p.cell = static_cast<Cell>(code); })
        .def("table", [](RecurrentPlan& p, Pointer table) { p.table = at<const float>(table); })
        .def("layer",
             [](RecurrentPlan& p, const GivenMatrix& input, const GivenMatrix& hidden) {
                 p.layers.push_back({matrix(input), matrix(hidden)});
             })
        .def("attention",
             [](RecurrentPlan& p, int score, const GivenMatrix& query, Pointer weigh,
                const GivenMatrix& mix) {
                 p.score = static_cast<Score>(score);
                 p.query = matrix(query);
                 p.weigh = at<const float>(weigh);
                 p.mix = matrix(mix);
             })
        .def("scratch", [](const RecurrentPlan& p, long rows, long threads, long memory_steps) {
            return RecurrentScratch(p, rows, threads, memory_steps).size();
        });
}

}  // namespace

void bind(nb::module_& module, const Table* (*table)()) {
    chosen = table;
    nb::class_<Plan>(module, "DecodePlan")
        .def("embedding",
             [](Plan& p, Pointer vectors, long tokens, long size) {
                 p.embedding = at<const float>(vectors);
                 p.tokens = tokens;
                 p.size = size;
             })
        .def("head", [](Plan& p, const GivenMatrix& head) { p.head = matrix(head); });
    bind_transformer(module);
    bind_recurrent(module);
    module.def("decode_step", &step);
    module.def("decode_write", &write);
    module.def("decode_search", &search);
    module.def("decode_move", &move_all);
    module.def("bend", [](int kind, long count, Pointer from, Pointer to) {
        chosen()->bend(static_cast<Activation>(kind), count, at<const float>(from), at<float>(to));
    });
}

}  // namespace throughtime::decode
