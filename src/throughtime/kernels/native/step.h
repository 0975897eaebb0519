// One step of one row, straight from the weights as torch keeps them: to pack them would cost more
// than the step.
#pragma once

#include "calls.h"
#include "parallel.h"
#include "product.h"

namespace throughtime::TT_ISA {

// Half of the numbers in which a and b differ by bit D of their place, each with its neighbour added.
template <class V, int D, int... L>
[[gnu::always_inline]] inline V fold(V a, V b, std::integer_sequence<int, L...>) {
    constexpr int n = sizeof...(L);
    return __builtin_shufflevector(a, b, ((L & D) ? n + L : L)...) +
           __builtin_shufflevector(a, b, ((L & D) ? n + (L ^ D) : (L ^ D))...);
}

// Number l of the result is the sum of the numbers of at[l].
template <class T, int D = 1>
[[gnu::always_inline]] inline vec<T> sums(vec<T>* at) {
    if constexpr (D == lanes<T>) {
        return at[0];
    } else {
        constexpr std::make_integer_sequence<int, lanes<T>> places{};
#pragma GCC unroll 16
        for (int i = 0; i < lanes<T> / D / 2; ++i)
            at[i] = fold<vec<T>, D>(at[2 * i], at[2 * i + 1], places);
        return sums<T, 2 * D>(at);
    }
}

// Number l of the result is the product of row l of a matrix, of which `rows` are there, with x.
template <class T>
[[gnu::always_inline]] inline vec<T> dots(const T* matrix, long rows, long columns, const T* x) {
    vec<T> at[lanes<T>] = {};
    const long whole = columns / lanes<T> * lanes<T>;
    const T* row[lanes<T>];
#pragma GCC unroll 16
    for (int l = 0; l < lanes<T>; ++l) row[l] = matrix + std::min<long>(l, rows - 1) * columns;
#pragma GCC unroll 1
    for (long k = 0; k < whole; k += lanes<T>) {
        const vec<T> b = load(x + k);
#pragma GCC unroll 16
        for (int l = 0; l < lanes<T>; ++l) at[l] += load(row[l] + k) * b;
    }
    vec<T> total = sums<T>(at);
    for (long k = whole; k < columns; ++k) {
        vec<T> column;
        for (int l = 0; l < lanes<T>; ++l) column[l] = row[l][k];
        total += column * x[k];
    }
    return total;
}

template <class T, class Cell>
class Step {
    static constexpr int G = Cell::hidden_blocks, first = Cell::first_hidden_block;
    const Problem& p;
    const long H = p.hidden, I = p.input;

    vec<T> input(int b, long unit, long units) const {
        const long row = Cell::input_order[b] * H + unit;
        return dots(typed<T>(p.weight_input) + row * I, units, I, typed<T>(p.x)) +
               load_some(typed<T>(p.bias) + row, static_cast<int>(units));
    }

    vec<T> hidden(int b, long unit, long units) const {
        const long row = Cell::hidden_order[b] * H + unit;
        return dots(typed<T>(p.weight_hidden) + row * H, units, H, typed<T>(p.hidden0));
    }

  public:
    explicit Step(const Problem& problem) : p(problem) {}

    void run() const {
        const FlushDenormals guard;
        for (long unit = 0, v = 0; unit < H; unit += lanes<T>, ++v) {
            const long units = std::min<long>(lanes<T>, H - unit);
            vec<T> sum[G];
            for (int g = 0; g < G; ++g) {
                sum[g] = hidden(g, unit, units);
                sum[g] += g + first < Cell::input_blocks
                              ? input(g + first, unit, units)
                              : load_within(typed<T>(p.bias_hidden), v, H);
            }
            T gates[Cell::blocks * lanes<T>], cell[lanes<T>];
            for (int b = 0; b < first; ++b) store(gates + b * lanes<T>, input(b, unit, units));
            if constexpr (Cell::has_cell) store(cell, load_within(typed<T>(p.cell0), v, H));
            const vec<T> h = Cell::template forward<false>(
                sum, gates, lanes<T>, load_within(typed<T>(p.hidden0), v, H), cell, nullptr);
            store_within(typed<T>(p.output), v, H, h);
            store_within(typed<T>(p.last_hidden), v, H, h);
            if constexpr (Cell::has_cell) store_within(typed<T>(p.last_cell), v, H, load(cell));
        }
    }
};

}  // namespace throughtime::TT_ISA
