// Backward through time: the gradients of a chunk, the last chunk first.
#pragma once

#include "recurrence.h"

namespace throughtime::TT_ISA {

template <class T, class Cell>
class Backward : Recurrence<T, Cell> {
    using Base = Recurrence<T, Cell>;
    using Base::p, Base::H, Base::I, Base::block, Base::row_size, Base::steps, Base::threads,
        Base::G, Base::vectors;

    static constexpr int R = tile_rows(widest);  // units in a block of an outer product
    const Gradients& d;
    const int shares = static_cast<int>(steps.shares.size());
    const long most = most_slots(), rows = p.batch;
    const bool weights = d.weight_input != nullptr || d.weight_hidden != nullptr ||
                         d.bias != nullptr || d.bias_hidden != nullptr;

    // U and W as rows: gradients of the blocks times them.
    Panels<T> recurrent{G * block, block}, input{Cell::input_blocks * block, I};
    // The chunk's inputs and states as rows: gradients of the blocks, transposed, times them.
    Panels<T> inputs{most, I}, states{most, H};
    const Scratch<T> recurrent_data{size(recurrent)};
    const Scratch<T> input_data{d.x != nullptr ? size(input) : 0};
    const Scratch<T> inputs_data{d.weight_input != nullptr ? size(inputs) : 0};
    const Scratch<T> states_data{d.weight_hidden != nullptr ? size(states) : 0};
    const Scratch<T> packed{static_cast<std::size_t>(weights ? threads * R * most : 0)};
    const Scratch<T> gates{static_cast<std::size_t>(most * row_size)};  // their gradients
    const Scratch<T> hidden{static_cast<std::size_t>(rows * block)};
    const Scratch<T> cell{static_cast<std::size_t>(Cell::has_cell ? rows * block : 0)};
    std::vector<long> place;

    static std::size_t size(const Panels<T>& panels) {
        return static_cast<std::size_t>(panels.size());
    }

    long most_slots() const {
        long slots = 0;
        for (const Chunk& chunk : steps.chunks)
            slots = std::max(slots, chunk.last_slot - chunk.first_slot);
        return slots;
    }

    T* dh(int thread) const { return hidden + place[thread] * block; }
    T* dc(int thread) const { return cell + place[thread] * block; }
    T* gate(const Chunk& chunk, long slot) const {
        return gates + (slot - chunk.first_slot) * row_size;
    }

    void add(void* to, long row, const T* from) const {
        if (to == nullptr) return;
        T* at = typed<T>(to) + row * H;
        for (long unit = 0; unit < H; ++unit) at[unit] += from[unit];
    }

    void begin(int thread) const {
        const Share& share = steps.shares[thread];
        const auto start = [&](T* to, const void* from, const Row& row) {
            std::fill_n(to, block, T{});
            if (from != nullptr) std::copy_n(typed<T>(from) + row.batch * H, H, to);
        };
        for (std::size_t i = 0; i < share.rows.size(); ++i) {
            T* h = dh(thread) + i * block;
            start(h, d.last_hidden, share.rows[i]);
            if constexpr (Cell::has_cell) start(dc(thread) + i * block, d.last_cell, share.rows[i]);
            if (share.rows[i].reset_end) hand_over(thread, i, share.rows[i].batch);
        }
    }

    // A sequence began here: what is left of the gradient belongs to the initial state.
    void hand_over(int thread, long i, long row) const {
        T* h = dh(thread) + i * block;
        add(d.initial_hidden, row, h);
        std::fill_n(h, block, T{});
        if constexpr (Cell::has_cell) {
            T* c = dc(thread) + i * block;
            add(d.initial_cell, row, c);
            std::fill_n(c, block, T{});
        }
    }

    // What stands behind the last unit must not count: infinity times the zeros of a weight is NaN.
    void clear_padding(T* gates_at, T* h, T* c) const {
        for (int b = 0; b < Cell::blocks; ++b)
            std::fill(gates_at + b * block + H, gates_at + (b + 1) * block, T{});
        std::fill(h + H, h + block, T{});
        if (c != nullptr) std::fill(c + H, c + block, T{});
    }

    // Gradients of the blocks of a step from that of its state, for some vectors of units.
    void gate_gradients(int thread, const Chunk& chunk, long k, long active, long first_vector,
                        long last_vector) const {
        const long slot = steps.shares[thread].slot[k];
        T* const h = dh(thread);
        for (long row = 0; row < active; ++row) {
            const long s = slot + row;
            const T* before = this->before(s);
            const T* after = typed<T>(p.output) + steps.at[s] * H;
            const T* given = d.output == nullptr ? nullptr : typed<T>(d.output) + steps.at[s] * H;
            const T* saved =
                Cell::saves_gates ? typed<T>(p.gates) + s * row_size : nullptr;
            const T* cells = Cell::has_cell ? typed<T>(p.cells) + s * block : nullptr;
            T* const to = gate(chunk, s);
            for (long v = first_vector; v < last_vector; ++v) {
                const long at = v * lanes<T>;
                if (at >= H) break;
                T* const h_at = h + row * block + at;
                vec<T> gradient = load(h_at);
                if (given != nullptr) gradient += load_within(given, v, H);
                Cell::backward(Cell::saves_gates ? saved + at : nullptr, block,
                               Cell::carries_gradient ? load_within(before, v, H) : vec<T>{},
                               Cell::saves_gates ? vec<T>{} : load_within(after, v, H),
                               Cell::has_cell ? cells + at : nullptr,
                               gradient, Cell::has_cell ? dc(thread) + row * block + at : nullptr,
                               to + at, h_at);
            }
            if (first_vector < last_vector && last_vector * lanes<T> > H)
                clear_padding(to, h + row * block,
                              Cell::has_cell ? dc(thread) + row * block : nullptr);
        }
    }

    // From there to the gradient of the state before, for some panels of units.
    void state_gradients(int thread, const Chunk& chunk, long k, long active, long first_panel,
                         long last_panel) const {
        std::vector<const T*> from(active);
        std::vector<T*> to(active);
        for (long row = 0; row < active; ++row) {
            from[row] = gate(chunk, steps.shares[thread].slot[k] + row) +
                        Cell::first_hidden_block * block;
            to[row] = dh(thread) + row * block;
        }
        product<T>(active, from.data(), recurrent, Cell::carries_gradient ? to.data() : nullptr,
                   to.data(), block, first_panel, last_panel);
    }

    void run_chunk(int thread, const Chunk& chunk) const {
        const Share& share = steps.shares[thread];
        for (long k = chunk.last - 1; k >= chunk.first; --k) {
            const long active = share.active[k], slot = share.slot[k];
            if (active == 0) continue;
            gate_gradients(thread, chunk, k, active, 0, vectors);
            state_gradients(thread, chunk, k, active, 0, recurrent.count);
            if (steps.resets)
                for (long row = 0; row < active; ++row)
                    if (steps.before[slot + row] == Steps::fresh)
                        hand_over(thread, row, share.rows[row].batch);
        }
    }

    // All rows, each thread its units. A round ends the step that the one before began: from the
    // gradients of all units' blocks to those of its units' state, and on to its blocks one step back.
    void run_chunk_by_units(const Chunk& chunk) const {
        const long steps_in_chunk = chunk.last - chunk.first;
        Rounds::run(threads, steps_in_chunk + 1, [&](long round, int part) {
            const long first = recurrent.count * part / threads,
                       last = recurrent.count * (part + 1) / threads;
            const long k = chunk.last - round;
            if (round > 0) state_gradients(0, chunk, k, steps.shares[0].active[k], first, last);
            if (round < steps_in_chunk)
                gate_gradients(0, chunk, k - 1, steps.shares[0].active[k - 1],
                               recurrent.first(first), recurrent.first(last));
        });
    }

    void input_gradients(const Chunk& chunk, long first, long last) const {
        std::vector<const T*> from;
        std::vector<T*> to;
        for (long slot = first; slot < last; ++slot) {
            from.push_back(gate(chunk, slot));
            to.push_back(typed<T>(d.x) + steps.at[slot] * I);
        }
        product<T>(last - first, from.data(), input, nullptr, to.data(), I, 0, input.count);
    }

    // The gradients of the weights of R units of one block.
    void weight_gradients(const Chunk& chunk, int thread, int b, long unit) const {
        const long depth = chunk.last_slot - chunk.first_slot;
        const int units = static_cast<int>(std::min<long>(R, H - unit));
        const bool first = chunk.last_slot == steps.slots;
        T* const a = packed + static_cast<long>(thread) * R * most;
        T total[R] = {};
        const T* from = gates + b * block + unit;
        for (long k = 0; k < depth;) {
            const long end = std::min(k + piece, depth);
            T part[R] = {};
            for (; k < end; ++k, from += row_size)
                for (int r = 0; r < R; ++r) {
                    a[k * R + r] = from[r];
                    part[r] += from[r];
                }
            for (int r = 0; r < R; ++r) total[r] += part[r];
        }
        const auto sums = [&](void* bias, long at) {
            T* to = typed<T>(bias) + at;
            for (long r = 0; r < units; ++r) to[r] = first ? total[r] : to[r] + total[r];
        };
        if (b < Cell::input_blocks) {
            const long row = Cell::input_order[b] * H + unit;
            if (d.weight_input != nullptr)
                outer_products<T, R>(depth, a, inputs, units, typed<T>(d.weight_input) + row * I,
                                     I, !first);
            if (d.bias != nullptr) sums(d.bias, row);
        } else if (d.bias_hidden != nullptr) {
            sums(d.bias_hidden, unit);
        }
        if (b >= Cell::first_hidden_block && d.weight_hidden != nullptr) {
            const long row = Cell::hidden_order[b - Cell::first_hidden_block] * H + unit;
            outer_products<T, R>(depth, a, states, units, typed<T>(d.weight_hidden) + row * H, H,
                                 !first);
        }
    }

    void all_weight_gradients(const Chunk& chunk) {
        const long slots = chunk.last_slot - chunk.first_slot;
        inputs.depth = states.depth = slots;
        const long of_inputs = d.weight_input != nullptr ? inputs.count : 0;
        const long of_states = d.weight_hidden != nullptr ? states.count : 0;
        parallel_ranges(threads, of_inputs + of_states, [&](long first, long last) {
            for (long q = first; q < last; ++q) {
                const auto slot = [&](long k) { return chunk.first_slot + k; };
                if (q < of_inputs)
                    pack_rows(inputs, q, I, [&](long k) { return this->x(slot(k)); });
                else
                    pack_rows(states, q - of_inputs, H,
                              [&](long k) { return this->before(slot(k)); });
            }
        });
        const long per_block = (H + R - 1) / R;
        parallel(threads, [&](int thread) {
            const long count = Cell::blocks * per_block;
            for (long i = count * thread / threads; i < count * (thread + 1) / threads; ++i)
                weight_gradients(chunk, thread, static_cast<int>(i / per_block),
                                 i % per_block * R);
        });
    }

    static void clear(void* to, long count) {
        if (to != nullptr) std::fill_n(typed<T>(to), count, T{});
    }

    void end(int thread) const {
        const Share& share = steps.shares[thread];
        for (std::size_t i = 0; i < share.rows.size(); ++i) {
            const long to = share.rows[i].batch * H;
            if (d.hidden0 != nullptr)
                std::copy_n(dh(thread) + i * block, H, typed<T>(d.hidden0) + to);
            if (Cell::has_cell && d.cell0 != nullptr)
                std::copy_n(dc(thread) + i * block, H, typed<T>(d.cell0) + to);
        }
    }

    // A weight as rows: gradients of its blocks times it.
    void pack_weight(Panels<T>& to, T* data, const void* weight, const int* order, long columns) {
        to.data = data;
        if (data == nullptr) return;
        parallel_ranges(threads, to.count, [&](long first, long last) {
            for (long q = first; q < last; ++q)
                pack_rows(to, q, columns, [&](long k) {
                    return this->weight_row(weight, order[k / block], k % block, H, columns);
                });
        });
    }

  public:
    Backward(const Problem& problem, const Gradients& gradients) : Base(problem), d(gradients) {
        long row = 0;
        for (const Share& share : steps.shares) {
            place.push_back(row);
            row += static_cast<long>(share.rows.size());
        }
    }

    void run() {
        pack_weight(recurrent, recurrent_data, p.weight_hidden, Cell::hidden_order, H);
        pack_weight(input, input_data, p.weight_input, Cell::input_order, I);
        inputs.data = inputs_data;
        states.data = states_data;
        clear(d.initial_hidden, rows * H);
        clear(d.initial_cell, rows * H);
        if (d.x != nullptr && steps.slots < rows * p.time) clear(d.x, rows * p.time * I);
        if (steps.slots == 0) {
            clear(d.weight_input, Cell::input_blocks * H * I);
            clear(d.weight_hidden, G * H * H);
            clear(d.bias, Cell::input_blocks * H);
            clear(d.bias_hidden, H);
        }
        for (int thread = 0; thread < shares; ++thread) begin(thread);
        for (auto chunk = steps.chunks.rbegin(); chunk != steps.chunks.rend(); ++chunk) {
            if (p.by_units)
                run_chunk_by_units(*chunk);
            else
                parallel(shares, [&](int thread) { run_chunk(thread, *chunk); });
            if (d.x != nullptr)
                parallel_ranges(threads, chunk->last_slot - chunk->first_slot,
                                [&](long first, long last) {
                                    input_gradients(*chunk, chunk->first_slot + first,
                                                    chunk->first_slot + last);
                                });
            if (weights) all_weight_gradients(*chunk);
        }
        for (int thread = 0; thread < shares; ++thread) end(thread);
    }
};

}  // namespace throughtime::TT_ISA
