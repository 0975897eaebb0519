#include "binding.h"

#include <nanobind/stl/tuple.h>

#include <cstdint>
#include <tuple>

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

// greedy, temperature, top-k, top-p, min-p, repetition penalty, uniform numbers, tokens seen
using GivenSampling = std::tuple<bool, double, long, double, double, double, Pointer, Pointer>;
Sampling sampling(const GivenSampling& given) {
    const auto [greedy, temperature, top_k, top_p, min_p, penalty, uniforms, seen] = given;
    return {greedy, temperature, top_p, min_p, penalty, top_k, at<const double>(uniforms),
            at<unsigned char>(seen)};
}

const Table* (*chosen)() = nullptr;

void run(const Plan& plan, int threads, long rows, long steps, Pointer keys, Pointer values,
         Pointer counts, Pointer memory_keys, Pointer memory_values, Pointer seen, long memory_steps,
         Pointer tokens, Pointer logits, Pointer written, Pointer log_probs, Pointer stops,
         const GivenSampling& how, Pointer scratch) {
    const Cache cache{at<float>(keys), at<float>(values), at<std::int64_t>(counts),
                      at<const float>(memory_keys), at<const float>(memory_values),
                      at<const float>(seen), memory_steps};
    const Call call{cache, rows, steps, threads, at<std::int64_t>(tokens), at<float>(logits),
                    at<std::int64_t>(written), at<float>(log_probs),
                    at<const unsigned char>(stops), sampling(how), at<float>(scratch)};
    for (long r = 0; r < rows; ++r)
        if (call.tokens[r] < 0 || call.tokens[r] >= plan.tokens)
            throw nb::index_error("a token id outside the vocabulary");
    nb::gil_scoped_release release;
    chosen()->decode(plan, call);
}

}  // namespace

void bind(nb::module_& module, const Table* (*table)()) {
    chosen = table;
    nb::class_<Plan>(module, "DecodePlan")
        .def(nb::init<>())
        .def_rw("size", &Plan::size)
        .def_rw("heads", &Plan::heads)
        .def_rw("kv_heads", &Plan::kv_heads)
        .def_rw("head_size", &Plan::head_size)
        .def_rw("hidden", &Plan::hidden)
        .def_rw("horizon", &Plan::horizon)
        .def_rw("length", &Plan::length)
        .def_rw("norm_first", &Plan::norm_first)
        .def("activation", [](Plan& p, int kind) { p.activation = static_cast<Activation>(kind); })
        .def("embedding",
             [](Plan& p, Pointer vectors, long tokens) {
                 p.embedding = at<const float>(vectors);
                 p.tokens = tokens;
             })
        .def("positions",
             [](Plan& p, Pointer learned, Pointer waves, Pointer turns, Pointer slopes) {
                 p.learned = at<const float>(learned);
                 p.waves = at<const double>(waves);
                 p.turns = at<const double>(turns);
                 p.slopes = at<const float>(slopes);
             })
        .def("block",
             [](Plan& p, const GivenNorm& n1, const GivenMatrix& in, const GivenMatrix& out,
                const GivenNorm& n2, const GivenMatrix& query, const GivenMatrix& mixed,
                const GivenNorm& n3, const GivenMatrix& up, const GivenMatrix& down) {
                 p.blocks.push_back({norm(n1), matrix(in), matrix(out), norm(n2), matrix(query),
                                     matrix(mixed), norm(n3), matrix(up), matrix(down)});
             })
        .def("head",
             [](Plan& p, const GivenNorm& last, const GivenMatrix& head) {
                 p.last_norm = norm(last);
                 p.head = matrix(head);
             })
        .def("scratch", [](const Plan& p, long rows, long threads, long memory_steps) {
            return Scratch(p, rows, threads, memory_steps).size();
        });
    module.def("decode", &run);
    module.def("bend", [](int kind, long count, Pointer from, Pointer to) {
        chosen()->bend(static_cast<Activation>(kind), count, at<const float>(from), at<float>(to));
    });
}

}  // namespace throughtime::decode
