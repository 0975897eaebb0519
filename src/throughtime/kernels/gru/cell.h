// The GRU on vectors of units, the reset gate after the matrix product:
// n = tanh(W x + b + r (U h + b_h)); h_t = (1 - z) n + z h_(t-1).
#pragma once

#include "native/functions.h"

namespace throughtime::TT_ISA {

// Saved per step: n, r, z and q = U h + b_h of block n; in backward their gradients. In this order
// the gradients of W x (n, r, z) and of U h (r, z, q) each lie side by side.
template <class T>
struct GRU {
    using V = vec<T>;
    static constexpr int blocks = 4;
    static constexpr int input_blocks = 3;        // n, r, z
    static constexpr int first_hidden_block = 1;  // r, z, q
    static constexpr int hidden_blocks = 3;
    static constexpr int input_order[] = {2, 0, 1};
    static constexpr int hidden_order[] = {0, 1, 2};
    static constexpr int units = 1;
    static constexpr bool has_cell = false, saves_gates = true, carries_gradient = true;

    // sum: r and z before the nonlinearity, and q; what n gets of x waits at `gates`.
    template <bool Save>
    [[gnu::always_inline]] static V forward(V* sum, T* gates, long block, V h_before, T* /*cell*/,
                                            T* /*cell_before*/) {
        const V r = sigmoid(sum[0]), z = sigmoid(sum[1]), q = sum[2];
        const V n = tanh(load(gates) + r * q);
        if constexpr (Save) {
            store(gates, n);
            store(gates + block, r);
            store(gates + 2 * block, z);
            store(gates + 3 * block, q);
        }
        return n + z * (h_before - n);
    }

    [[gnu::always_inline]] static void backward(const T* gates, long block, V h_before, V /*h*/,
                                                const T* /*cell_before*/, V dh, T* /*dc*/, T* d,
                                                T* dh_before) {
        const V n = load(gates), r = load(gates + block), z = load(gates + 2 * block),
                q = load(gates + 3 * block);
        const V dn = dh * (1 - z) * (1 - n * n);
        store(d, dn);
        store(d + block, dn * q * r * (1 - r));
        store(d + 2 * block, dh * (h_before - n) * z * (1 - z));
        store(d + 3 * block, dn * r);
        store(dh_before, dh * z);
    }
};

}  // namespace throughtime::TT_ISA
