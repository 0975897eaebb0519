// Forward and backward over time, for any cell.
//
// A chunk of iterations at a time: first what does not wait for the state, as one product over all
// slots of the chunk; then the recurrence, each thread running its own rows through the chunk
// without waiting for the others. Backwards the other way round.
#pragma once

#include <algorithm>
#include <vector>

#include "calls.h"
#include "parallel.h"
#include "product.h"
#include "steps.h"

namespace throughtime::TT_ISA {

template <class T, class Cell>
struct Recurrence {
    static constexpr int G = Cell::hidden_blocks;
    const Problem& p;
    const long H = p.hidden, I = p.input, block = padded<T>(p.hidden), row_size = Cell::blocks * block;
    const long vectors = block / lanes<T>;
    const int threads;
    const Steps steps;

    explicit Recurrence(const Problem& problem)
        : p(problem), threads(p.threads),
          steps(p.batch, p.time, p.mask, p.reset, Deal{p.threads, p.by_units}.shares(p.batch),
                chunk_slots(row_size * sizeof(T))) {}

    const T* x(long slot) const { return typed<T>(p.x) + steps.at[slot] * I; }

    // The state before a slot: an output, or what the row began with.
    const T* before(long slot) const {
        const long from = steps.before[slot], row = steps.at[slot] / p.time;
        if (from == Steps::start) return typed<T>(p.hidden0) + row * H;
        if (from == Steps::fresh) return typed<T>(p.initial_hidden) + row * H;
        return typed<T>(p.output) + from * H;
    }

    // Where torch keeps the weights of a unit of block b; null for the padding.
    static const T* weight_row(const void* weight, int b, long unit, long hidden, long columns) {
        return unit < hidden ? typed<T>(weight) + (b * hidden + unit) * columns : nullptr;
    }

    // W as columns: x W^T gives the input blocks side by side.
    void pack_input(Panels<T>& to) const {
        parallel_ranges(threads, to.count, [&](long first, long last) {
            for (long panel = first; panel < last; ++panel)
                for (int n = 0; n < to.width(panel); ++n) {
                    const long column = (to.first(panel) + n) * lanes<T>;
                    const T* columns[lanes<T>];
                    for (int l = 0; l < lanes<T>; ++l)
                        columns[l] = weight_row(p.weight_input, Cell::input_order[column / block],
                                                column % block + l, H, I);
                    pack_columns<T>(to.panel(panel) + n * lanes<T>, to.width(panel) * lanes<T>, I,
                                    columns);
                }
        });
    }

    // U likewise, but with all blocks of a vector of units in one panel: what a cell needs at once.
    long panel_first(long panel) const { return panel * Cell::units; }
    int panel_width(long panel) const {
        return static_cast<int>(std::min<long>(Cell::units, vectors - panel_first(panel)));
    }
    long panels() const { return (vectors + Cell::units - 1) / Cell::units; }
    T* panel(T* packed, long panel) const { return packed + panel_first(panel) * G * H * lanes<T>; }

    void pack_hidden(T* packed) const {
        parallel_ranges(threads, panels(), [&](long first, long last) {
            for (long q = first; q < last; ++q)
                for (int u = 0; u < panel_width(q); ++u)
                    for (int g = 0; g < G; ++g) {
                        const long unit = (panel_first(q) + u) * lanes<T>;
                        const T* columns[lanes<T>];
                        for (int l = 0; l < lanes<T>; ++l)
                            columns[l] = weight_row(p.weight_hidden, Cell::hidden_order[g],
                                                    unit + l, H, H);
                        pack_columns<T>(panel(packed, q) + (u * G + g) * lanes<T>,
                                        panel_width(q) * G * lanes<T>, H, columns);
                    }
        });
    }

    // The biases in the order and with the padding of the blocks.
    void pack_bias(T* bias, T* bias_hidden) const {
        std::fill_n(bias, Cell::input_blocks * block, T{});
        for (int b = 0; b < Cell::input_blocks; ++b)
            std::copy_n(typed<T>(p.bias) + Cell::input_order[b] * H, H, bias + b * block);
        std::fill_n(bias_hidden, block, T{});
        if (p.bias_hidden != nullptr) std::copy_n(typed<T>(p.bias_hidden), H, bias_hidden);
    }
};

template <class T, class Cell>
class Forward : Recurrence<T, Cell> {
    using Base = Recurrence<T, Cell>;
    using Base::p, Base::H, Base::I, Base::block, Base::row_size, Base::steps, Base::threads, Base::G;

    static std::vector<long> places(const Steps& steps) {
        std::vector<long> first;
        long rows = 0;
        for (const Share& share : steps.shares) {
            first.push_back(rows);
            rows += static_cast<long>(share.rows.size());
        }
        return first;
    }

    const bool save = p.gates != nullptr || p.cells != nullptr;
    const std::vector<long> place = places(steps);  // by thread: its first row in `hidden`
    Panels<T> input{I, Cell::input_blocks * block};
    const Scratch<T> input_data{static_cast<std::size_t>(input.size())};
    const Scratch<T> recurrent{static_cast<std::size_t>(G * H * block)};
    const Scratch<T> bias{static_cast<std::size_t>((Cell::input_blocks + 1) * block)};
    T* const bias_hidden = bias + Cell::input_blocks * block;
    // Two states, read and written in turn: other panels still need the old one.
    const Scratch<T> hidden{static_cast<std::size_t>(2 * p.batch * block)};
    const Scratch<T> cell{static_cast<std::size_t>(Cell::has_cell ? p.batch * block : 0)};
    const Scratch<T> scratch{static_cast<std::size_t>(p.gates != nullptr ? 0 : most() * row_size)};

    long most() const {
        long slots = 0;
        for (const Chunk& chunk : steps.chunks)
            slots = std::max(slots, chunk.last_slot - chunk.first_slot);
        return slots;
    }

    T* gates(const Chunk& chunk, long slot) const {
        return p.gates != nullptr ? typed<T>(p.gates) + slot * row_size
                                  : scratch + (slot - chunk.first_slot) * row_size;
    }
    T* state(int thread, long k) const {
        return hidden + ((k & 1) * p.batch + place[thread]) * block;
    }
    T* cells(int thread) const { return cell + place[thread] * block; }

    void copy_in(T* to, const void* from, long row) const {
        std::copy_n(typed<T>(from) + row * H, H, to);
        std::fill(to + H, to + block, T{});
    }

    void begin(int thread) const {
        const Share& share = steps.shares[thread];
        for (std::size_t row = 0; row < share.rows.size(); ++row) {
            copy_in(state(thread, 0) + row * block, p.hidden0, share.rows[row].batch);
            if constexpr (Cell::has_cell)
                copy_in(cells(thread) + row * block, p.cell0, share.rows[row].batch);
        }
    }

    void project(const Chunk& chunk, long first, long last) const {
        std::vector<const T*> from, start(last - first, bias.get());
        std::vector<T*> to;
        for (long slot = first; slot < last; ++slot) {
            from.push_back(this->x(slot));
            to.push_back(gates(chunk, slot));
        }
        product<T>(last - first, from.data(), input, start.data(), to.data(),
                   Cell::input_blocks * block, 0, input.count);
    }

    void restart(int thread, long k, long rows) const {
        const Share& share = steps.shares[thread];
        for (long row = 0; row < rows; ++row)
            if (steps.before[share.slot[k] + row] == Steps::fresh) {
                copy_in(state(thread, k) + row * block, p.initial_hidden, share.rows[row].batch);
                if constexpr (Cell::has_cell)
                    copy_in(cells(thread) + row * block, p.initial_cell, share.rows[row].batch);
            }
    }

    // The panels from first_panel to last_panel of units.
    template <bool Save>
    void step(int thread, const Chunk& chunk, long k, long rows, long first_panel,
              long last_panel) const {
        constexpr int from_input = Cell::input_blocks - Cell::first_hidden_block;
        const long slot = steps.shares[thread].slot[k];
        const Even<T> h{state(thread, k), block};
        T* const next = state(thread, k + 1);
        T* const gate = gates(chunk, slot);
        for (long q = first_panel; q < last_panel; ++q)
            with_constant<Cell::units>(this->panel_width(q), [&](auto U) {
                const long vector = this->panel_first(q);
                each_block<tile_rows(U * G)>(rows, [&](auto R, long first) {
                    Tile<T, R, U * G> tile;
                    for (int r = 0; r < R; ++r)
                        for (int u = 0; u < U; ++u)
                            for (int g = 0; g < G; ++g) {
                                const long at = (vector + u) * lanes<T>;
                                tile.at[r][u * G + g] =
                                    g < from_input
                                        ? load(gate + (first + r) * row_size +
                                               (Cell::first_hidden_block + g) * block + at)
                                        : load(bias_hidden + at);
                            }
                    multiply<T, R, U * G>(tile, H, h, first, this->panel(recurrent, q));
                    for (int r = 0; r < R; ++r)
                        for (int u = 0; u < U; ++u) {
                            const long row = first + r, at = (vector + u) * lanes<T>;
                            T* c = Cell::has_cell ? cells(thread) + row * block + at : nullptr;
                            T* c_before = Cell::has_cell && Save
                                              ? typed<T>(p.cells) + (slot + row) * block + at
                                              : nullptr;
                            const vec<T> value = Cell::template forward<Save>(
                                &tile.at[r][u * G], gate + row * row_size + at, block,
                                load(h[row] + at), c, c_before);
                            store(next + row * block + at, value);
                            store_within(typed<T>(p.output) + steps.at[slot + row] * H, vector + u,
                                         H, value);
                        }
                });
            });
    }

    void run_step(int thread, const Chunk& chunk, long k, long first, long last) const {
        const long rows = steps.shares[thread].active[k];
        if (save)
            step<true>(thread, chunk, k, rows, first, last);
        else
            step<false>(thread, chunk, k, rows, first, last);
    }

    void run_chunk(int thread, const Chunk& chunk) const {
        const Share& share = steps.shares[thread];
        for (long k = chunk.first; k < chunk.last && share.active[k] > 0; ++k) {
            if (steps.resets) restart(thread, k, share.active[k]);
            run_step(thread, chunk, k, 0, this->panels());
        }
    }

    // All rows, each thread its units.
    void run_chunk_by_units(const Chunk& chunk) const {
        Rounds::run(threads, chunk.last - chunk.first, [&](long round, int part) {
            run_step(0, chunk, chunk.first + round, this->panels() * part / threads,
                     this->panels() * (part + 1) / threads);
        });
    }

    void end(int thread) const {
        const Share& share = steps.shares[thread];
        for (std::size_t i = 0; i < share.rows.size(); ++i) {
            const Row& row = share.rows[i];
            const T* h = row.reset_end ? typed<T>(p.initial_hidden) + row.batch * H
                                       : state(thread, row.count) + i * block;
            std::copy_n(h, H, typed<T>(p.last_hidden) + row.batch * H);
            if constexpr (Cell::has_cell) {
                const T* c = row.reset_end ? typed<T>(p.initial_cell) + row.batch * H
                                           : cells(thread) + i * block;
                std::copy_n(c, H, typed<T>(p.last_cell) + row.batch * H);
            }
        }
    }

    void zero_padding() const {
        if (p.mask == nullptr) return;
        for (long step = 0; step < p.batch * p.time; ++step)
            if (!p.mask[step]) std::fill_n(typed<T>(p.output) + step * H, H, T{});
    }

  public:
    explicit Forward(const Problem& problem) : Base(problem) { input.data = input_data; }

    void run() {
        const int shares = static_cast<int>(steps.shares.size());
        this->pack_input(input);
        this->pack_hidden(recurrent);
        this->pack_bias(bias, bias_hidden);
        zero_padding();
        for (int thread = 0; thread < shares; ++thread) begin(thread);
        for (const Chunk& chunk : steps.chunks) {
            const long slots = chunk.last_slot - chunk.first_slot;
            parallel_ranges(threads, slots, [&](long first, long last) {
                project(chunk, chunk.first_slot + first, chunk.first_slot + last);
            });
            if (p.by_units)
                run_chunk_by_units(chunk);
            else
                parallel(shares, [&](int thread) { run_chunk(thread, chunk); });
        }
        for (int thread = 0; thread < shares; ++thread) end(thread);
    }
};

}  // namespace throughtime::TT_ISA
