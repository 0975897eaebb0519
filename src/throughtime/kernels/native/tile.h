// Micro-kernels: small blocks of a matrix product that live in registers.
//
// A tile holds R rows by N vectors of columns. 24 accumulators fill the 32 registers of AVX-512 and
// NEON beside the operands; elsewhere there are 16 registers, and 12 accumulators do.
#pragma once

#include <type_traits>

#include "vector.h"

namespace throughtime::TT_ISA {

#if TT_VECTOR_BYTES == 64 || defined(__aarch64__)
constexpr int accumulators = 24;
#else
constexpr int accumulators = 12;
#endif

constexpr int widest = 3;  // vectors in a panel, where nothing else decides

// More rows than 8 would need more pointers than there are registers.
constexpr int tile_rows(int vectors) {
    return accumulators / vectors < 8 ? accumulators / vectors : 8;
}

template <int N>
using constant = std::integral_constant<int, N>;

template <class T, int R, int N>
struct Tile {
    vec<T> at[R][N];
};

// Rows that lie evenly in memory, and rows that lie anywhere.
template <class T>
struct Even {
    const T* first;
    long stride;
    const T* operator[](long row) const { return first + row * stride; }
};

template <class T>
struct Listed {
    const T* const* list;
    const T* operator[](long row) const { return list[row]; }
};

// Numbers are added up in pieces of so many, the pieces one to another: the rounding errors of one long
// chain grow with its length, and what a tile starts from may be much larger than what is added.
constexpr long piece = 64;

// at[r][n] += sum over k of a[first + r][k] * panel[k][n]. A function of its own, so that the sums have
// all registers to themselves: inlined, the constants of the gates' functions push some of them out.
// A tile of few sums takes every second or fourth k apart, lest each sum wait for the one before.
template <class T, int R, int N, class Rows>
[[gnu::noinline]] void multiply(Tile<T, R, N>& tile, long depth, const Rows& a, long first,
                                const T* panel) {
    constexpr int K = R * N <= accumulators / 4 ? 4 : R * N <= accumulators / 2 ? 2 : 1;
    const T* row[R];
#pragma GCC unroll 24
    for (int r = 0; r < R; ++r) row[r] = a[first + r];
#pragma GCC unroll 1
    for (long k = 0; k < depth;) {
        const long end = k + piece < depth ? k + piece : depth;
        vec<T> sum[K][R][N] = {};
        const auto add = [&](auto j, long k) __attribute__((always_inline)) {
            vec<T> b[N];
#pragma GCC unroll 4
            for (int n = 0; n < N; ++n) b[n] = load(panel + (j * N + n) * lanes<T>);
#pragma GCC unroll 24
            for (int r = 0; r < R; ++r) {
                const vec<T> s = broadcast(row[r][k + j]);
#pragma GCC unroll 4
                for (int n = 0; n < N; ++n) sum[j][r][n] += s * b[n];
            }
        };
#pragma GCC unroll 1
        for (; k + K <= end; k += K, panel += K * N * lanes<T>) {
            add(constant<0>{}, k);
            if constexpr (K > 1) add(constant<1>{}, k);
            if constexpr (K > 2) {
                add(constant<2>{}, k);
                add(constant<3>{}, k);
            }
        }
        if constexpr (K > 1)
#pragma GCC unroll 1
            for (; k < end; ++k, panel += N * lanes<T>) add(constant<0>{}, k);
#pragma GCC unroll 24
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int n = 0; n < N; ++n)
                if constexpr (K == 4)
                    tile.at[r][n] += (sum[0][r][n] + sum[1][r][n]) + (sum[2][r][n] + sum[3][r][n]);
                else if constexpr (K == 2)
                    tile.at[r][n] += sum[0][r][n] + sum[1][r][n];
                else
                    tile.at[r][n] += sum[0][r][n];
    }
}

// at[r][n] += sum over k of a[k][r] * panel[k][n], both packed: the outer products of a chunk.
template <class T, int R, int N>
[[gnu::noinline]] void outer(Tile<T, R, N>& tile, long depth, const T* a, const T* panel) {
#pragma GCC unroll 1
    for (long k = 0; k < depth;) {
        const long end = k + piece < depth ? k + piece : depth;
        vec<T> sum[R][N] = {};
#pragma GCC unroll 1
        for (; k < end; ++k, a += R, panel += N * lanes<T>) {
            vec<T> b[N];
#pragma GCC unroll 4
            for (int n = 0; n < N; ++n) b[n] = load(panel + n * lanes<T>);
#pragma GCC unroll 24
            for (int r = 0; r < R; ++r) {
                const vec<T> s = broadcast(a[r]);
#pragma GCC unroll 4
                for (int n = 0; n < N; ++n) sum[r][n] += s * b[n];
            }
        }
#pragma GCC unroll 24
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int n = 0; n < N; ++n) tile.at[r][n] += sum[r][n];
    }
}

// f(constant<n>) for the n that is known only now, 1 to Most.
template <int Most, class F>
[[gnu::always_inline]] inline void with_constant(int n, const F& f) {
    if constexpr (Most == 1) {
        f(constant<1>{});
    } else {
        if (n == Most)
            f(constant<Most>{});
        else
            with_constant<Most - 1>(n, f);
    }
}

// f(constant<R>, first) for blocks of at most Most rows, as even as can be.
template <int Most, class F>
[[gnu::always_inline]] inline void each_block(long rows, const F& f) {
    const long blocks = (rows + Most - 1) / Most;
    for (long block = 0, first = 0; block < blocks; ++block) {
        const long size = (rows - first + blocks - block - 1) / (blocks - block);
        with_constant<Most>(static_cast<int>(size), [&](auto R) { f(R, first); });
        first += size;
    }
}

}  // namespace throughtime::TT_ISA
