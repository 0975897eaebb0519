// What Python sees of the kernels: functions of raw pointers and sizes. Nothing of torch is known
// here, so that one build serves every version of it.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "../decode/binding.h"
#include "calls.h"
#include "exchange.h"
#include "isa.h"
#include "parallel.h"
#include "steps.h"
#include "table.h"
#include "workspace.h"

namespace nb = nanobind;

namespace throughtime {
namespace {

using Pointer = std::uintptr_t;

template <class T>
T at(Pointer address) {
    return reinterpret_cast<T>(address);
}

// The column of a table for numbers of so many bytes.
int column(long itemsize) { return itemsize == 4 ? 0 : 1; }

const Table* table = nullptr;  // of the chosen instruction set

long row_bytes(int cell, long itemsize, long hidden) {
    return blocks[cell] * ((hidden * itemsize + 63) / 64 * 64);
}

// How the steps were dealt out: what comes later must deal them out alike.
int forward(int cell, long itemsize, int threads, long batch, long time, long input, long hidden,
            Pointer x, Pointer mask, Pointer reset, Pointer weight_input, Pointer weight_hidden,
            Pointer bias, Pointer bias_hidden, Pointer hidden0, Pointer cell0,
            Pointer initial_hidden, Pointer initial_cell, Pointer output, Pointer last_hidden,
            Pointer last_cell, Pointer gates, Pointer cells) {
    using Marks = const unsigned char*;
    using In = const void*;
    using Out = void*;
    const double rows = static_cast<double>(blocks[cell]) * hidden;
    const Deal dealt = deal(threads, batch, time, rows * hidden, rows * input, reset != 0);
    const Problem problem{
        dealt.threads, dealt.by_units, batch, time, input, hidden, at<In>(x), at<Marks>(mask),
        at<Marks>(reset), at<In>(weight_input), at<In>(weight_hidden), at<In>(bias), at<In>(bias_hidden),
        at<In>(hidden0), at<In>(cell0), at<In>(initial_hidden), at<In>(initial_cell),
        at<Out>(output), at<Out>(last_hidden), at<Out>(last_cell), at<Out>(gates), at<Out>(cells)};
    nb::gil_scoped_release release;
    table->forward[cell][column(itemsize)](problem);
    return dealt.code();
}

void backward(int cell, long itemsize, int dealt, long batch, long time, long input, long hidden,
              Pointer x, Pointer mask, Pointer reset, Pointer weight_input, Pointer weight_hidden,
              Pointer bias_hidden, Pointer hidden0, Pointer cell0, Pointer initial_hidden,
              Pointer initial_cell, Pointer output, Pointer gates, Pointer cells,
              Pointer d_output, Pointer d_last_hidden, Pointer d_last_cell, Pointer d_x,
              Pointer d_weight_input, Pointer d_weight_hidden, Pointer d_bias,
              Pointer d_bias_hidden, Pointer d_hidden0, Pointer d_cell0, Pointer d_initial_hidden,
              Pointer d_initial_cell) {
    using Marks = const unsigned char*;
    using In = const void*;
    using Out = void*;
    const auto [threads, by_units] = Deal::from(dealt);
    const Problem problem{threads, by_units, batch, time, input, hidden, at<In>(x),
                          at<Marks>(mask), at<Marks>(reset), at<In>(weight_input), at<In>(weight_hidden), nullptr,
                          at<In>(bias_hidden), at<In>(hidden0), at<In>(cell0),
                          at<In>(initial_hidden), at<In>(initial_cell), at<Out>(output), nullptr,
                          nullptr, at<Out>(gates), at<Out>(cells)};
    const Gradients gradients{
        at<In>(d_output), at<In>(d_last_hidden), at<In>(d_last_cell), at<Out>(d_x),
        at<Out>(d_weight_input), at<Out>(d_weight_hidden), at<Out>(d_bias), at<Out>(d_bias_hidden),
        at<Out>(d_hidden0), at<Out>(d_cell0), at<Out>(d_initial_hidden), at<Out>(d_initial_cell)};
    nb::gil_scoped_release release;
    table->backward[cell][column(itemsize)](problem, gradients);
}

Exchange exchange;

// One step of one row: output and the parts of the state after it; None where a tensor is not what
// it takes. So short that it keeps the interpreter's lock.
nb::object step(int cell, nb::handle x, nb::handle hidden0, nb::handle cell0,
                nb::handle weight_input, nb::handle weight_hidden, nb::handle bias,
                nb::handle bias_hidden) {
    // The weights say the sizes and the type; all else must fit.
    DLTensor w, u, b, b_hidden{}, given, h, c{};
    int bits = 32;
    if (!exchange.known() || !exchange.peek(weight_hidden, u) || u.ndim != 2) return nb::none();
    bits = u.bits;
    const std::int64_t rows = u.shape[0], hidden = u.shape[1];
    if (!exchange.peek(weight_input, w) || w.ndim != 2) return nb::none();
    const std::int64_t input = w.shape[1];
    const bool has_cell = cell == lstm;
    if (bias_hidden.is_none() == (cell == gru)) return nb::none();
    if ((bits != 32 && bits != 64) || rows != weight_blocks[cell] * hidden || hidden == 0 ||
        input == 0 || !exchange.view(weight_hidden, {rows, hidden}, bits, u) ||
        !exchange.view(weight_input, {rows, input}, bits, w) ||
        !exchange.view(bias, {rows}, bits, b) ||
        !(bias_hidden.is_none() || exchange.view(bias_hidden, {hidden}, bits, b_hidden)) ||
        !exchange.view(x, {1, 1, input}, bits, given) ||
        !exchange.view(hidden0, {1, hidden}, bits, h) ||
        (has_cell && !exchange.view(cell0, {1, hidden}, bits, c)))
        return nb::none();
    void *output = nullptr, *last_hidden = nullptr, *last_cell = nullptr;
    const nb::object found[3] = {
        nb::steal(exchange.empty(given, {1, 1, hidden}, output)),
        nb::steal(exchange.empty(h, {1, hidden}, last_hidden)),
        has_cell ? nb::steal(exchange.empty(c, {1, hidden}, last_cell)) : nb::none(),
    };
    for (const nb::object& one : found)
        if (!one.is_valid()) throw nb::python_error();
    const Problem problem{1,           false,      1,          1,          input,   hidden,
                          given.at(),  nullptr,    nullptr,    w.at(),     u.at(),  b.at(),
                          b_hidden.data == nullptr ? nullptr : b_hidden.at(),
                          h.at(),      has_cell ? c.at() : nullptr, nullptr, nullptr, output,
                          last_hidden, last_cell,  nullptr,    nullptr};
    table->step[cell][column(bits / 8)](problem);
    if (has_cell) return nb::make_tuple(found[0], found[1], found[2]);
    return nb::make_tuple(found[0], found[1]);
}

bool meet(const nb::capsule& published, nb::handle tensor, nb::handle parameter) {
    return exchange.meet(published, tensor, parameter);
}

// From slots in the kernel's order of blocks to [batch, time, blocks * hidden] in torch's.
template <class T>
void unpack(const Steps& steps, int cell, long hidden, const T* gates, T* to) {
    const long block = row_bytes(cell, sizeof(T), hidden) / blocks[cell] / long{sizeof(T)};
    for (long slot = 0; slot < steps.slots; ++slot)
        for (int b = 0; b < blocks[cell]; ++b)
            std::copy_n(gates + (slot * blocks[cell] + b) * block, hidden,
                        to + (steps.at[slot] * blocks[cell] + saved_order[cell][b]) * hidden);
}

void unpack_gates(int cell, long itemsize, long batch, long time, long hidden, int dealt,
                  Pointer mask, Pointer reset, Pointer gates, Pointer to) {
    using Marks = const unsigned char*;
    nb::gil_scoped_release release;
    const long bytes = batch * time * blocks[cell] * hidden * itemsize;
    std::fill_n(at<char*>(to), bytes, 0);
    const Steps steps(batch, time, at<Marks>(mask), at<Marks>(reset), Deal::from(dealt).shares(batch),
                      chunk_slots(row_bytes(cell, itemsize, hidden)));
    if (itemsize == 4)
        unpack(steps, cell, hidden, at<const float*>(gates), at<float*>(to));
    else
        unpack(steps, cell, hidden, at<const double*>(gates), at<double*>(to));
}

// A tensor of torch on memory of the pool.
nb::object empty(const std::vector<std::size_t>& shape, long itemsize) {
    std::size_t bytes = itemsize;
    for (std::size_t length : shape) bytes *= length;
    void* block = take(bytes);
    const nb::capsule owner(block, [](void* p) noexcept { give(p); });
    if (itemsize == 4)
        return nb::cast(nb::ndarray<nb::pytorch, float>(block, shape.size(), shape.data(), owner));
    return nb::cast(nb::ndarray<nb::pytorch, double>(block, shape.size(), shape.data(), owner));
}

void evaluate(int function, long itemsize, long count, Pointer from, Pointer to) {
    const FlushDenormals guard;
    table->evaluate[function][column(itemsize)](count, at<const void*>(from), at<void*>(to));
}

// Chooses an instruction set by name, or the best there is for an empty one.
void use_isa(const std::string& name) {
    const std::vector<const Table*> all = available();
    for (const Table* one : all)
        if (name.empty() || name == one->name) {
            table = one;
            return;
        }
    std::string names;
    for (const Table* one : all) names += (names.empty() ? "" : ", ") + std::string(one->name);
    throw std::invalid_argument("is '" + name + "', expected one of none, " + names);
}

std::vector<std::string> isas() {
    std::vector<std::string> names;
    for (const Table* one : available()) names.emplace_back(one->name);
    return names;
}

}  // namespace
}  // namespace throughtime

NB_MODULE(_native, module) {
    using namespace throughtime;
    watch_forks();
    use_isa("");
    module.doc() = "Recurrences over time on raw pointers.";
    module.def("forward", &forward);
    module.def("backward", &backward);
    module.def("step", &step, nb::arg(), nb::arg().none(), nb::arg().none(), nb::arg().none(),
               nb::arg().none(), nb::arg().none(), nb::arg().none(), nb::arg().none());
    module.def("meet", &meet);
    module.def("unpack_gates", &unpack_gates);
    module.def("empty", &empty);
    module.def("evaluate", &evaluate);
    module.def("isa", [] { return std::string(table->name); });
    module.def("isas", &isas);
    module.def("use_isa", &use_isa);
    module.def("parallel", [] {
#ifdef _OPENMP
        return true;
#else
        return false;
#endif
    });
    module.def("pooled", &pooled);
    module.def("release", &release);
    decode::bind(module, [] { return table; });
}
