// What a decoder does to each row of its stream: norms, and matrices of numbers or bytes.
#pragma once

#include <cmath>

#include "activation.h"
#include "panels.h"

namespace throughtime::TT_ISA {

// Rows in memory, `stride` numbers apart.
template <class T>
struct Rows {
    T* at = nullptr;
    long stride = 0;

    T* row(long r) const { return at + r * stride; }
};

// Room for rows as bytes, with a scale for each.
struct Bytes {
    signed char* at;
    float* scales;
    long stride;
};

inline float total(vec<float> v) {
    float sum = v[0];
    for (int i = 1; i < lanes<float>; ++i) sum += v[i];
    return sum;
}

// The mean of f over the first `count` numbers.
template <class F>
[[gnu::always_inline]] inline float mean(const float* x, long count, const F& f) {
    vec<float> sums[2] = {};
    long k = 0;
    for (; k + 2 * lanes<float> <= count; k += 2 * lanes<float>) {
        sums[0] += f(load(x + k));
        sums[1] += f(load(x + k + lanes<float>));
    }
    float all = total(sums[0] + sums[1]);
    for (; k < count; ++k) all += f(broadcast(x[k]))[0];
    return all / static_cast<float>(count);
}

// Whole vectors are written; there is room for them, and n's weights are as long.
inline void norm(const decode::Norm& n, long size, const float* x, float* y) {
    if (n.weight == nullptr) {
        std::copy_n(x, size, y);
        return;
    }
    const float centre = n.rms ? 0 : mean(x, size, [](vec<float> v) { return v; });
    const float spread = mean(x, size, [&](vec<float> v) {
        const vec<float> d = v - centre;
        return d * d;
    });
    const float scale = 1 / std::sqrt(spread + n.epsilon);
    for (long k = 0; k < size; k += lanes<float>) {
        vec<float> v = (load(x + k) - centre) * scale * load(n.weight + k);
        if (n.bias != nullptr) v += load(n.bias + k);
        store(y + k, v);
    }
}

// Some panels of to[row] = W from[row] + b + sum[row]; nothing is added where there is no sum.
inline void apply(const decode::Matrix& m, long rows, Rows<const float> from, const Bytes& bytes,
                  long first, long last, Rows<float> to, Rows<const float> sum) {
    const auto keep = [&](long r, long q, const vec<float>* sums) {
        for (int v = 0; v < panel_vectors; ++v) {
            const long k = q * panel + v * lanes<float>;
            vec<float> y = sums[v] + load(m.bias + k);
            if (sum.at != nullptr) y += load(sum.row(r) + k);
            store(to.row(r) + k, y);
        }
    };
    if (m.scales == nullptr) {
        multiply(static_cast<const float*>(m.weights), m.depth * panel, m.depth, from.at,
                 from.stride, rows, first, last, keep);
        return;
    }
    const long depth = 4 * m.fours();
    for (long r = 0; r < rows; ++r)
        bytes.scales[r] = to_bytes(from.row(r), m.depth, depth, bytes.at + r * bytes.stride);
    const auto* weights = static_cast<const signed char*>(m.weights);
    for (long q = first; q < last; ++q)
        row_blocks<most_byte_rows>(rows, [&](auto R, long r0) {
            WholeSums<R> whole;
            multiply_panel<R>(weights + q * panel * depth, depth, bytes.at + r0 * bytes.stride,
                              bytes.stride, whole);
            for (int r = 0; r < R; ++r) {
                vec<float> sums[panel_vectors];
                for (int v = 0; v < panel_vectors; ++v)
                    sums[v] = __builtin_convertvector(whole[r][v], vec<float>) *
                              (load(m.scales + q * panel + v * lanes<float>) * bytes.scales[r0 + r]);
                keep(r0 + r, q, sums);
            }
        });
}

}  // namespace throughtime::TT_ISA
