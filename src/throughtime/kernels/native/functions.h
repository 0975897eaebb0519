// exp, sigmoid and tanh on vectors, without branches.
#pragma once

#include "vector.h"

namespace throughtime::TT_ISA {

// expm1: the polynomial q of least largest error (Remez) for which e^r = 1 + r + r^2 q(r) where
// |r| <= ln(2) / 2; relative to e^r the error is 3e-9 in float and 4e-18 in double.
template <class T>
struct Numbers;

template <>
struct Numbers<float> {
    static constexpr float magic = 12582912 + 127;  // 1.5 * 2^23, and the exponent's bias
    static constexpr int mantissa = 23;
    static constexpr float log2e = 1.44269504f, ln2 = 0.693359375f, ln2_rest = -2.12194440e-4f;
    static constexpr float exp_low = -87.3365447f, exp_high = 88.7228394f;
    static constexpr float sigmoid_high = 88.3f;
    static constexpr float tanh_high = 9.02f;
    static constexpr float expm1[] = {0.499999934f, 0.166665204f, 4.16683908e-2f, 8.36874511e-3f,
                                      1.38145402e-3f};
};

template <>
struct Numbers<double> {
    static constexpr double magic = 6755399441055744 + 1023;
    static constexpr int mantissa = 52;
    static constexpr double log2e = 1.4426950408889634, ln2 = 0x1.62e42fee00000p-1,
                            ln2_rest = 0x1.a39ef35793c76p-33;
    static constexpr double exp_low = -708.396418532264106, exp_high = 709.782712893383996;
    static constexpr double sigmoid_high = 709.0;
    static constexpr double tanh_high = 19.1;
    static constexpr double expm1[] = {
        0.500000000000001067,   0.166666666666664115,   4.16666666665297282e-2,
        8.33333333349497726e-3, 1.38888889437599654e-3, 1.98412695057737751e-4,
        2.48014929496338692e-5, 2.75575868038953245e-6, 2.76303062502936e-7,
        2.50000188331873732e-8};
};

// e^y = 2^n (1 + p): n whole, |p| small.
template <class V>
struct Power {
    V p;
    bits<number<V>> n;  // plus the bias, in the lowest bits; what stands above is shifted out
};

template <class V>
[[gnu::always_inline]] inline Power<V> power(V y) {
    using N = Numbers<number<V>>;
    // Adding so large a number rounds y log2 e to a whole one, which then is the sum's lowest bits.
    const V sum = y * N::log2e + N::magic;
    const V n = sum - N::magic;
    const V r = (y - n * N::ln2) - n * N::ln2_rest;
    // Even and odd powers apart: half as many steps that wait for each other.
    constexpr int last = sizeof(N::expm1) / sizeof(N::expm1[0]) - 1;
    const V r2 = r * r;
    V ends = broadcast(N::expm1[last]), others = broadcast(N::expm1[last - 1]);
#pragma GCC unroll 8
    for (int i = last - 2; i >= 0; i -= 2) ends = ends * r2 + N::expm1[i];
#pragma GCC unroll 8
    for (int i = last - 3; i >= 0; i -= 2) others = others * r2 + N::expm1[i];
    const V q = last % 2 == 0 ? others * r + ends : ends * r + others;
    return {q * r2 + r, to_bits(sum)};
}

template <class V>
[[gnu::always_inline]] inline V two_to(const Power<V>& e) {
    return from_bits<number<V>>(e.n << Numbers<number<V>>::mantissa);
}

// Zero where the result would be denormal.
template <class V>
[[gnu::always_inline]] inline V exp(V x) {
    using T = number<V>;
    using N = Numbers<T>;
    const Power<V> e = power(x);
    // The exponent is added, since 2^n alone may overflow where e^x does not.
    const bits<T> n = (e.n - (to_bits(broadcast(T{1})) >> N::mantissa)) << N::mantissa;
    const V y = from_bits<T>(to_bits(1 + e.p) + n);
    return select(x < N::exp_low, V{}, select(x <= N::exp_high, y, x * __builtin_inf()));
}

template <class V>
[[gnu::always_inline]] inline V sigmoid(V x) {
    using N = Numbers<number<V>>;
    const Power<V> e = power(clamp(x, -N::sigmoid_high, N::sigmoid_high));
    const V s = two_to(e);
    const V t = s * e.p + s;
    return t / (t + 1);
}

template <class V>
[[gnu::always_inline]] inline V tanh(V x) {
    using N = Numbers<number<V>>;
    const Power<V> e = power(2 * clamp(x, -N::tanh_high, N::tanh_high));
    const V s = two_to(e);
    const V t = s * e.p + (s - 1);
    return t / (t + 2);
}

}  // namespace throughtime::TT_ISA
