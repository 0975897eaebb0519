// Packed matrices, and products of rows with them.
#pragma once

#include <algorithm>
#include <cstring>

#include "tile.h"
#include "workspace.h"

namespace throughtime::TT_ISA {

constexpr long round_up(long n, long to) { return (n + to - 1) / to * to; }

// Numbers per block of a row: hidden, rounded up to 64 bytes whatever the instruction set, so that
// what one has saved any other can read.
template <class T>
constexpr long padded(long hidden) {
    return round_up(hidden, 64 / static_cast<long>(sizeof(T)));
}

// A matrix [depth, columns] cut into panels of at most `widest` vectors of columns, each panel
// contiguous: [depth][vectors of the panel][lanes].
template <class T>
struct Panels {
    long depth = 0, vectors = 0, count = 0;
    T* data = nullptr;

    Panels(long depth, long columns)
        : depth(depth), vectors((columns + lanes<T> - 1) / lanes<T>),
          count((vectors + widest - 1) / widest) {}

    long size() const { return depth * vectors * lanes<T>; }
    long first(long panel) const { return panel * vectors / count; }
    int width(long panel) const { return static_cast<int>(first(panel + 1) - first(panel)); }
    T* panel(long p) const { return data + first(p) * depth * lanes<T>; }
};

// Packs panel p of a matrix whose row k is `row(k)`, of `columns` numbers.
template <class T, class Row>
void pack_rows(const Panels<T>& to, long p, long columns, const Row& row) {
    const long first = to.first(p) * lanes<T>;
    const int width = to.width(p) * lanes<T>;
    const long real = std::clamp(columns - first, 0L, static_cast<long>(width));
    T* at = to.panel(p);
    for (long k = 0; k < to.depth; ++k, at += width) {
        const T* from = row(k);
        if (from == nullptr) {
            std::memset(at, 0, sizeof(T) * width);
            continue;
        }
        std::memcpy(at, from + first, sizeof(T) * real);
        for (long c = real; c < width; ++c) at[c] = 0;
    }
}

// Packs one vector of columns of a transposed matrix: column l is `column[l]`, of `depth` numbers, or
// zeros where that is null; `at` is the vector's place at k = 0, `step` the distance between k's.
template <class T>
void pack_columns(T* at, long step, long depth, const T* const* column) {
    for (int l = 0; l < lanes<T>; ++l) {
        const T* from = column[l];
        T* to = at + l;
        if (from == nullptr)
            for (long k = 0; k < depth; ++k) to[k * step] = 0;
        else
            for (long k = 0; k < depth; ++k) to[k * step] = from[k];
    }
}

// Loads and stores of one vector of a row of `columns` numbers, never beyond its end.
template <class T>
[[gnu::always_inline]] inline vec<T> load_within(const T* row, long vector, long columns) {
    const long first = vector * lanes<T>;
    return columns - first >= lanes<T> ? load(row + first)
                                       : load_some(row + first, static_cast<int>(columns - first));
}

template <class T>
[[gnu::always_inline]] inline void store_within(T* row, long vector, long columns, vec<T> value) {
    const long first = vector * lanes<T>;
    if (columns - first >= lanes<T>)
        store(row + first, value);
    else
        store_some(row + first, value, static_cast<int>(columns - first));
}

// A tile from rows of `columns` numbers, from vector v on, and back; nothing beyond their ends.
template <class T, int R, int N, class Row>
[[gnu::always_inline]] inline void load_tile(Tile<T, R, N>& tile, const Row& row, long v,
                                             long columns) {
    const bool whole = (v + N) * lanes<T> <= columns;
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n)
            tile.at[r][n] = whole ? load(row(r) + (v + n) * lanes<T>)
                                  : load_within(row(r), v + n, columns);
}

template <class T, int R, int N, class Row>
[[gnu::always_inline]] inline void store_tile(const Tile<T, R, N>& tile, const Row& row, long v,
                                              long columns, int rows = R) {
    if ((v + N) * lanes<T> <= columns && rows == R) {
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int n = 0; n < N; ++n) store(row(r) + (v + n) * lanes<T>, tile.at[r][n]);
    } else {
        for (int r = 0; r < rows; ++r)
            for (int n = 0; n < N; ++n) store_within(row(r), v + n, columns, tile.at[r][n]);
    }
}

// to[row] = start[row] + a[row] * b for rows that lie anywhere, `columns` numbers of each; a null
// `start` is zero. Some panels of columns only. Once for every use: each width and height of a tile is compiled anew.
template <class T>
[[gnu::noinline]] void product(long rows, const T* const* a, const Panels<T>& b,
                               const T* const* start, T* const* to, long columns,
                               long first_panel, long last_panel) {
    for (long p = first_panel; p < last_panel; ++p)
        with_constant<widest>(b.width(p), [&](auto N) {
            each_block<tile_rows(N)>(rows, [&](auto R, long first) {
                Tile<T, R, N> tile{};
                if (start != nullptr)
                    load_tile(tile, [&](int r) { return start[first + r]; }, b.first(p), columns);
                multiply<T, R, N>(tile, b.depth, Listed<T>{a}, first, b.panel(p));
                store_tile(tile, [&](int r) { return to[first + r]; }, b.first(p), columns);
            });
        });
}

// to[row] (+)= sum over k of a[k][row] * b[k]: outer products added up, of R rows, of which the first
// `rows` are kept; a is packed.
template <class T, int R>
[[gnu::noinline]] void outer_products(long depth, const T* a, const Panels<T>& b, int rows, T* to,
                                      long columns, bool add) {
    const auto row = [&](int r) { return to + std::min(r, rows - 1) * columns; };
    for (long q = 0; q < b.count; ++q)
        with_constant<widest>(b.width(q), [&](auto N) {
            Tile<T, R, N> tile{};
            if (add) load_tile(tile, row, b.first(q), columns);
            outer<T, R, N>(tile, depth, a, b.panel(q));
            store_tile(tile, row, b.first(q), columns, rows);
        });
}

}  // namespace throughtime::TT_ISA
