// The RNN on vectors of units: h_t = act(W x_t + U h_(t-1) + b).
#pragma once

#include "native/functions.h"

namespace throughtime::TT_ISA {

// Each activation, and from the gradient of its value h to that of its argument.
template <class T>
struct Tanh {
    static vec<T> value(vec<T> x) { return tanh(x); }
    static vec<T> back(vec<T> h, vec<T> d) { return d * (1 - h * h); }
};

template <class T>
struct Relu {
    // As torch: NaN stays NaN.
    static vec<T> value(vec<T> x) { return select(x < 0, vec<T>{}, x); }
    static vec<T> back(vec<T> h, vec<T> d) { return select(h > 0, d, vec<T>{}); }
};

template <class T>
struct Sigmoid {
    static vec<T> value(vec<T> x) { return sigmoid(x); }
    static vec<T> back(vec<T> h, vec<T> d) { return d * (h * (1 - h)); }
};

template <class T, template <class> class Activation>
struct RNN {
    using V = vec<T>;
    static constexpr int blocks = 1;
    static constexpr int input_blocks = 1;
    static constexpr int first_hidden_block = 0;
    static constexpr int hidden_blocks = 1;
    static constexpr int input_order[] = {0};
    static constexpr int hidden_order[] = {0};
    static constexpr int units = 2;
    static constexpr bool has_cell = false, saves_gates = false, carries_gradient = false;

    template <bool Save>
    [[gnu::always_inline]] static V forward(V* sum, T*, long, V, T*, T*) {
        return Activation<T>::value(sum[0]);
    }

    [[gnu::always_inline]] static void backward(const T*, long, V, V h, const T*, V dh, T*, T* d,
                                                T*) {
        store(d, Activation<T>::back(h, dh));
    }
};

}  // namespace throughtime::TT_ISA
