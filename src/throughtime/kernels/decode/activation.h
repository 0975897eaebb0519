// What bends between the matrices of a feed-forward layer.
#pragma once

#include "../native/functions.h"
#include "plan.h"

namespace throughtime::TT_ISA {

// x / 2 (1 + erf(x / sqrt 2)). erf(x / sqrt 2) = x p(x^2) / q(x^2) by least largest error where
// |x| < 5.4, 1.1e-8 in exact arithmetic; beyond, float knows no difference from 1. In float the result
// is off by at most 2.6e-7 |x|, as torch's is.
[[gnu::always_inline]] inline vec<float> gelu(vec<float> x) {
    constexpr float edge = 5.4f;
    constexpr float p[] = {0.797884464f,   6.67444095e-2f, 9.30169877e-3f,
                           3.28642840e-4f, 1.27200280e-5f, 4.67734651e-8f};
    constexpr float q[] = {1.0f,           0.250317812f,   2.83786729e-2f,
                           1.85897993e-3f, 7.24000784e-5f, 1.21659048e-6f};
    const vec<float> square = x * x;
    vec<float> above = broadcast(p[5]), below = broadcast(q[5]);
#pragma GCC unroll 5
    for (int i = 4; i >= 0; --i) {
        above = above * square + p[i];
        below = below * square + q[i];
    }
    const vec<float> half = 0.5f * x, y = half + half * (x * above / below);
    return select(x > edge, x, select(x < -edge, vec<float>{}, y));
}

// x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), as a sigmoid: 1 + tanh(y) = 2 / (1 + e^-2y).
[[gnu::always_inline]] inline vec<float> gelu_tanh(vec<float> x) {
    return x * sigmoid(1.595769122f * (x + 0.044715f * (x * x * x)));
}

// x / (1 + e^-x).
[[gnu::always_inline]] inline vec<float> silu(vec<float> x) { return x * sigmoid(x); }

// What the second matrix reads of what the first gave; swiglu has gates before values. Whole vectors:
// the buffers have room behind the last number.
inline void bend(decode::Activation kind, long hidden, const float* from, float* to) {
    for (long k = 0; k < hidden; k += lanes<float>) {
        const vec<float> x = load(from + k);
        switch (kind) {
            case decode::gelu: store(to + k, gelu(x)); break;
            case decode::relu: store(to + k, max(x, vec<float>{})); break;
            case decode::gelu_tanh: store(to + k, gelu_tanh(x)); break;
            case decode::silu: store(to + k, silu(x)); break;
            case decode::swiglu: store(to + k, silu(x) * load(from + hidden + k)); break;
        }
    }
}

}  // namespace throughtime::TT_ISA
