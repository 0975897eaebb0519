// The LSTM on vectors of units: gates i, f, g, o; c_t = f c_(t-1) + i g; h_t = o tanh(c_t).
#pragma once

#include "native/functions.h"

namespace throughtime::TT_ISA {

template <class T>
struct LSTM {
    using V = vec<T>;
    static constexpr int blocks = 4;               // saved per step: i, f, g, o
    static constexpr int input_blocks = 4;         // the first of them come from W x + b
    static constexpr int first_hidden_block = 0;   // and these from U h
    static constexpr int hidden_blocks = 4;
    static constexpr int input_order[] = {0, 1, 2, 3};  // where torch's weights keep each block
    static constexpr int hidden_order[] = {0, 1, 2, 3};
    static constexpr int units = 1;  // vectors of units in a panel
    static constexpr bool has_cell = true, saves_gates = true, carries_gradient = false;

    // sum: W x + U h + b by block. Returns h; leaves c in `cell` and the gates at `gates`.
    template <bool Save>
    [[gnu::always_inline]] static V forward(V* sum, T* gates, long block, V /*h_before*/, T* cell,
                                            T* cell_before) {
        const V i = sigmoid(sum[0]), f = sigmoid(sum[1]), g = tanh(sum[2]), o = sigmoid(sum[3]);
        const V before = load(cell);
        const V c = f * before + i * g;
        store(cell, c);
        if constexpr (Save) {
            store(gates, i);
            store(gates + block, f);
            store(gates + 2 * block, g);
            store(gates + 3 * block, o);
            store(cell_before, before);
        }
        return o * tanh(c);
    }

    // From the gradient of h to those of the blocks; dc goes from c_t to c_(t-1).
    [[gnu::always_inline]] static void backward(const T* gates, long block, V /*h_before*/,
                                                V /*h*/, const T* cell_before, V dh, T* dc_at,
                                                T* d, T* /*dh_before*/) {
        const V i = load(gates), f = load(gates + block), g = load(gates + 2 * block),
                o = load(gates + 3 * block), before = load(cell_before);
        const V tanh_c = tanh(f * before + i * g);
        const V dc = load(dc_at) + dh * o * (1 - tanh_c * tanh_c);
        store(d, dc * g * i * (1 - i));
        store(d + block, dc * before * f * (1 - f));
        store(d + 2 * block, dc * i * (1 - g * g));
        store(d + 3 * block, dh * tanh_c * o * (1 - o));
        store(dc_at, dc * f);
    }
};

}  // namespace throughtime::TT_ISA
