// Rows times packed matrices: a panel's 32 sums at a time, so that the weights are one stream of memory
// that is read once for a few rows, and no sum runs across a vector.
#pragma once

#include <algorithm>

#include "../native/vector.h"
#include "plan.h"

namespace throughtime::TT_ISA {

constexpr long panel = decode::panel;
constexpr int panel_vectors = panel / lanes<float>;

// The sums of a panel for R rows.
template <int R>
using Sums = vec<float>[R][panel_vectors];

// Rows that fit into the registers beside the weights.
constexpr int most_rows = TT_VECTOR_BYTES == 64 ? 8 : TT_VECTOR_BYTES == 32 ? 3 : 1;

// Bytes ahead that are asked for: the processor's own prefetching stops at the end of a page.
constexpr long ahead = 2048;

// total = weights^T x for R rows of x, `stride` apart. Several sums of each number where there are few rows:
// an addition takes four cycles, and two may begin in each.
template <int R>
[[gnu::always_inline]] inline void multiply_panel(const float* weights, long depth, const float* x,
                                                  long stride, Sums<R>& total) {
    constexpr int apart = std::max(1, 8 / (R * panel_vectors));
    Sums<R> sums[apart] = {};
    const auto add = [&](long k, int u) {
        const float* at = weights + k * panel;
        __builtin_prefetch(reinterpret_cast<const char*>(at) + ahead);
        __builtin_prefetch(reinterpret_cast<const char*>(at) + ahead + 64);
#pragma GCC unroll 8
        for (int v = 0; v < panel_vectors; ++v) {
            vec<float> w = load(at + v * lanes<float>);
#if defined(__AVX2__) && TT_VECTOR_BYTES == 32
            // In a register: for two rows the compiler would load it twice.
            if constexpr (R > 1) asm("" : "+x"(w));
#endif
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r) sums[u][r][v] += w * x[r * stride + k];
        }
    };
    long k = 0;
    for (; k + apart <= depth; k += apart)
#pragma GCC unroll 8
        for (int u = 0; u < apart; ++u) add(k + u, u);
    for (; k < depth; ++k) add(k, 0);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
        for (int v = 0; v < panel_vectors; ++v) {
            total[r][v] = sums[0][r][v];
#pragma GCC unroll 8
            for (int u = 1; u < apart; ++u) total[r][v] += sums[u][r][v];
        }
}

// Likewise of whole numbers from -127 to 127, exact.
typedef std::int32_t WholeVector __attribute__((vector_size(TT_VECTOR_BYTES)));
template <int R>
using WholeSums = WholeVector[R][panel_vectors];

#if defined(__AVX2__)
// An instruction multiplies bytes with a sign by bytes without one and adds pairs in 16 bits. x without
// its sign, and the sign on the weights: 2 * 127 * 127 does not overflow.
template <int R>
[[gnu::always_inline]] inline void multiply_panel(const signed char* weights, long depth,
                                                  const signed char* x, long stride,
                                                  WholeSums<R>& total) {
    constexpr int parts = panel / 8;
    __m256i sums[R][parts] = {};
    const __m256i ones = _mm256_set1_epi16(1);
    for (long k = 0; k < depth; k += 4) {
        const signed char* at = weights + k * panel;
        __builtin_prefetch(at + ahead);
        __builtin_prefetch(at + ahead + 64);
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
            std::int32_t four;
            std::memcpy(&four, x + r * stride + k, 4);
            const __m256i signs = _mm256_set1_epi32(four), sizes = _mm256_abs_epi8(signs);
#pragma GCC unroll 4
            for (int v = 0; v < parts; ++v) {
                const __m256i w = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at) + v);
                const __m256i pairs = _mm256_maddubs_epi16(sizes, _mm256_sign_epi8(w, signs));
                sums[r][v] = _mm256_add_epi32(sums[r][v], _mm256_madd_epi16(pairs, ones));
            }
        }
    }
    std::memcpy(&total, &sums, sizeof total);
}
constexpr int most_byte_rows = 2;
#else
template <int R>
inline void multiply_panel(const signed char* weights, long depth, const signed char* x, long stride,
                           WholeSums<R>& total) {
    for (int r = 0; r < R; ++r) {
        std::int32_t sums[panel] = {};
        const signed char* at = weights;
        for (long k = 0; k < depth; k += 4)
            for (long column = 0; column < panel; ++column, at += 4)
                for (int i = 0; i < 4; ++i)
                    sums[column] += std::int32_t{at[i]} * x[r * stride + k + i];
        std::memcpy(&total[r], sums, sizeof sums);
    }
}
constexpr int most_byte_rows = 1;
#endif

// f(R, first) for blocks of rows, as many at a time as `most`.
template <int most, class F>
[[gnu::always_inline]] inline void row_blocks(long rows, const F& f) {
    // Of four rows two and two, where three would leave one that waits for its weights.
    const long end = most == 3 && rows > 3 && rows % 3 == 1 ? rows - 4 : rows;
    long first = 0;
    if constexpr (most > 1)
        for (; first + most <= end; first += most) f(std::integral_constant<int, most>{}, first);
    if constexpr (most > 2)
        if (rows - first >= 2) {
            for (; first + 2 <= rows; first += 2) f(std::integral_constant<int, 2>{}, first);
        }
    for (; first < rows; ++first) f(std::integral_constant<int, 1>{}, first);
}

// Some panels of a float matrix with `depth` rows, of which panel q begins at weights + q * step:
// f(row, panel, sums) for each row and panel.
template <class F>
[[gnu::always_inline]] inline void multiply(const float* weights, long step, long depth,
                                            const float* x, long stride, long rows,
                                            long first_panel, long last_panel, const F& f) {
    for (long q = first_panel; q < last_panel; ++q)
        row_blocks<most_rows>(rows, [&](auto R, long first) {
            Sums<R> sums;
            multiply_panel<R>(weights + q * step, depth, x + first * stride, stride, sums);
            for (int r = 0; r < R; ++r) f(first + r, q, sums[r]);
        });
}

// Numbers as bytes, x = scale * q: the largest is 127. Returns the scale; NaN where one of them is.
inline float to_bytes(const float* x, long count, long whole, signed char* q) {
    bits<float> most{};
    long k = 0;
    for (; k + lanes<float> <= count; k += lanes<float>) {
        const bits<float> size = to_bits(load(x + k)) & 0x7fffffffu;
        most = size > most ? size : most;  // as whole numbers they have the same order, NaN last
    }
    std::uint32_t largest = 0;
    for (int i = 0; i < lanes<float>; ++i) largest = std::max(largest, most[i]);
    for (long j = k; j < count; ++j) {
        std::uint32_t size;
        std::memcpy(&size, x + j, 4);
        largest = std::max(largest, size & 0x7fffffffu);
    }
    float amax;
    std::memcpy(&amax, &largest, 4);
    std::fill(q + count, q + whole, 0);
    // Also NaN and infinity, whose scale makes NaN of everything.
    if (!(amax > 1e-30f) || !(amax < 3e38f)) {
        std::fill_n(q, count, 0);
        return amax > 1e-30f || amax != amax ? __builtin_nanf("") : 0;
    }
    const float factor = 127 / amax;
    constexpr float magic = 12582912;  // adding it rounds to a whole number, in the lowest bits
    typedef signed char Bytes __attribute__((vector_size(lanes<float>)));
    for (k = 0; k + lanes<float> <= count; k += lanes<float>) {
        const bits<float> whole_numbers = to_bits(load(x + k) * factor + magic);
        const Bytes bytes = __builtin_convertvector(whole_numbers, Bytes);
        std::memcpy(q + k, &bytes, sizeof bytes);
    }
    for (; k < count; ++k) {
        const float sum = x[k] * factor + magic;
        std::uint32_t low;
        std::memcpy(&low, &sum, 4);
        q[k] = static_cast<signed char>(low);
    }
    return amax / 127;
}

}  // namespace throughtime::TT_ISA
