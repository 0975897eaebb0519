// Vectors of numbers by the compiler's own extension (GCC, Clang), TT_VECTOR_BYTES wide: the same
// source for every instruction set. Operators work number by number, a scalar operand for all.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if TT_VECTOR_BYTES != 16 && TT_VECTOR_BYTES != 32 && TT_VECTOR_BYTES != 64
#error "TT_VECTOR_BYTES is 16, 32 or 64"
#endif

namespace throughtime::TT_ISA {

template <class T>
struct Vec;

template <>
struct Vec<float> {
    typedef float type __attribute__((vector_size(TT_VECTOR_BYTES)));
    typedef float loose __attribute__((vector_size(TT_VECTOR_BYTES), aligned(4), may_alias));
    typedef std::uint32_t bits __attribute__((vector_size(TT_VECTOR_BYTES)));
};

template <>
struct Vec<double> {
    typedef double type __attribute__((vector_size(TT_VECTOR_BYTES)));
    typedef double loose __attribute__((vector_size(TT_VECTOR_BYTES), aligned(8), may_alias));
    typedef std::uint64_t bits __attribute__((vector_size(TT_VECTOR_BYTES)));
};

template <class T>
using vec = typename Vec<T>::type;

// Whole numbers as wide as T, without a sign: what leaves their range wraps around.
template <class T>
using bits = typename Vec<T>::bits;

template <class T>
constexpr int lanes = TT_VECTOR_BYTES / static_cast<int>(sizeof(T));

// The type of a vector's numbers.
template <class V>
using number = std::remove_cv_t<std::remove_reference_t<decltype(V{}[0])>>;

template <class T>
[[gnu::always_inline]] inline vec<T> load(const T* from) {
    return *reinterpret_cast<const typename Vec<T>::loose*>(from);
}

template <class T>
[[gnu::always_inline]] inline void store(T* to, vec<T> v) {
    *reinterpret_cast<typename Vec<T>::loose*>(to) = v;
}

// Subtracting zero changes no number, not even -0.0: the compiler drops it, adding zero it may not.
template <class T>
[[gnu::always_inline]] inline vec<T> broadcast(T x) {
    return x - vec<T>{};
}

// a where the mask is set, else b.
template <class M, class V>
[[gnu::always_inline]] inline V select(M mask, V a, V b) {
    return mask ? a : b;
}

// The larger and the smaller of x and a bound; NaN stays NaN. Processors have an instruction for it, but
// only where the order of the operands is this one, which compilers do not find.
template <class V>
[[gnu::always_inline]] inline V max(V x, V low) {
#if defined(__AVX512F__) && TT_VECTOR_BYTES == 64
    if constexpr (sizeof(number<V>) == 4)
        return (V)_mm512_max_ps((__m512)low, (__m512)x);
    else
        return (V)_mm512_max_pd((__m512d)low, (__m512d)x);
#elif defined(__AVX2__) && TT_VECTOR_BYTES == 32
    if constexpr (sizeof(number<V>) == 4)
        return (V)_mm256_max_ps((__m256)low, (__m256)x);
    else
        return (V)_mm256_max_pd((__m256d)low, (__m256d)x);
#else
    return x < low ? low : x;
#endif
}
template <class V>
[[gnu::always_inline]] inline V min(V x, V high) {
#if defined(__AVX512F__) && TT_VECTOR_BYTES == 64
    if constexpr (sizeof(number<V>) == 4)
        return (V)_mm512_min_ps((__m512)high, (__m512)x);
    else
        return (V)_mm512_min_pd((__m512d)high, (__m512d)x);
#elif defined(__AVX2__) && TT_VECTOR_BYTES == 32
    if constexpr (sizeof(number<V>) == 4)
        return (V)_mm256_min_ps((__m256)high, (__m256)x);
    else
        return (V)_mm256_min_pd((__m256d)high, (__m256d)x);
#else
    return x > high ? high : x;
#endif
}
template <class V>
[[gnu::always_inline]] inline V clamp(V x, number<V> low, number<V> high) {
    return min(max(x, broadcast(low)), broadcast(high));
}

template <class V>
[[gnu::always_inline]] inline bits<number<V>> to_bits(V v) {
    return reinterpret_cast<bits<number<V>>>(v);
}
template <class T>
[[gnu::always_inline]] inline vec<T> from_bits(bits<T> v) {
    return reinterpret_cast<vec<T>>(v);
}

// The first n < lanes numbers, zeros behind; memory beyond them is not touched.
template <class T>
[[gnu::always_inline]] inline vec<T> load_some(const T* from, int n) {
    vec<T> v{};
    for (int i = 0; i < lanes<T>; ++i)
        if (i < n) v[i] = from[i];
    return v;
}

template <class T>
[[gnu::always_inline]] inline void store_some(T* to, vec<T> v, int n) {
    for (int i = 0; i < lanes<T>; ++i)
        if (i < n) to[i] = v[i];
}

}  // namespace throughtime::TT_ISA
