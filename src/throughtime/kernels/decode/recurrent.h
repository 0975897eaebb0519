// Steps of recurrent layers that look at a memory, as rounds of work that threads may share.
#pragma once

#include "../gru/cell.h"
#include "../lstm/cell.h"
#include "../rnn/cell.h"
#include "look.h"
#include "move.h"
#include "network.h"

namespace throughtime::TT_ISA {

class Recurrent : Network {
    // Rounds: the products of a layer, its gates; then what the first layer's output looks at; logits.
    enum Kind { multiply, update, ask, look_aside, mix, answer };
    struct Round {
        Kind kind;
        long layer;
    };

    const decode::RecurrentPlan& p;
    const decode::RecurrentScratch at;
    const std::vector<Round> order = rounds_of(p);

    // Shared by all parts, [rows][...]: vectors of tokens; what layers give, added up; what keys are
    // compared with; outputs before the step, [layers][rows][units]; what was found beside the first
    // layer's output; W x + b and U h + b_h.
    float *const vectors, *const stream, *const query, *const before, *const both;
    float *const input, *const past;
    float* const others;

    // What each part has for itself: room for a product; how much each step of the memory counts.
    struct Own {
        Bytes bytes;
        float* scores;
    };

    Own own(int part) const {
        float* const scales = others + part * at.of_part();
        auto* const bytes = reinterpret_cast<signed char*>(scales + at.rows * panel);
        return {{bytes, scales, at.deep}, scales + at.rows * (panel + at.deep / 4)};
    }

    static std::vector<Round> rounds_of(const decode::RecurrentPlan& p) {
        std::vector<Round> all;
        for (long layer = 0; layer < static_cast<long>(p.layers.size()); ++layer) {
            all.insert(all.end(), {{multiply, layer}, {update, layer}});
            if (layer > 0 || p.score == decode::nothing) continue;
            if (p.score == decode::additive) all.push_back({ask, 0});
            all.insert(all.end(), {{look_aside, 0}, {mix, 0}});
        }
        all.push_back({answer, 0});
        return all;
    }

    float* state(long r, long layer) const {
        return cache.states + fed[r].place * p.state_size() + layer * p.parts() * at.units;
    }

    // A layer's output: the first one's lies where it is mixed with what it finds.
    Rows<float> output(long layer) const {
        if (layer == 0 && p.score != decode::nothing) return {both + p.found(), at.both};
        return {stream, at.units};
    }

    void products(long layer, int part, const Bytes& bytes) const {
        const decode::Cells& cells = p.layers[layer];
        if (layer > 0)
            apply(cells.input, part, bytes, {stream, at.units}, {input, at.gates});
        else if (p.table == nullptr)
            apply(cells.input, part, bytes, {vectors, at.vector}, {input, at.gates});
        const float* const h = before + layer * at.rows * at.units;
        apply(cells.hidden, part, bytes, {h, at.units}, {past, at.gates});
    }

    // New states, and what they add to the stream.
    template <class Cell>
    void gates(long layer, int part) const {
        constexpr int G = Cell::hidden_blocks, first = Cell::first_hidden_block;
        const long U = at.units;
        const Rows<float> to = output(layer);
        each(part, U / lanes<float>, [&](long v) {
            const long k = v * lanes<float>;
            for (long r = 0; r < active(); ++r) {
                const float* const x = input + r * at.gates + k;
                const float* const h = past + r * at.gates + k;
                vec<float> sum[G];
                for (int g = 0; g < G; ++g) {
                    sum[g] = load(h + Cell::hidden_order[g] * U);
                    if (g + first < Cell::input_blocks)
                        sum[g] += load(x + Cell::input_order[g + first] * U);
                }
                float own[Cell::blocks * lanes<float>];
                for (int b = 0; b < first; ++b)
                    store(own + b * lanes<float>, load(x + Cell::input_order[b] * U));
                float* const kept = state(r, layer) + k;
                const vec<float> y = Cell::template forward<false>(
                    sum, own, lanes<float>, load(kept), kept + U, nullptr);
                store(kept, y);
                store(to.row(r) + k, layer == 0 ? y : load(to.row(r) + k) + y);
            }
        });
    }

    void gates(long layer, int part) const {
        switch (p.cell) {
            case rnn_tanh: return gates<RNN<float, Tanh>>(layer, part);
            case rnn_relu: return gates<RNN<float, Relu>>(layer, part);
            case rnn_sigmoid: return gates<RNN<float, Sigmoid>>(layer, part);
            case lstm: return gates<LSTM<float>>(layer, part);
            case gru: return gates<GRU<float>>(layer, part);
            case cells: break;
        }
    }

    // How well a step of the memory fits, key by key.
    float compare(const float* asked, const float* key) const {
        vec<float> sums[2] = {};
        for (long k = 0; k < at.units; k += 2 * lanes<float>)
            for (int i = 0; i < 2; ++i) {
                const long j = k + i * lanes<float>;
                if (p.score == decode::additive)
                    sums[i] += load(p.weigh + j) * tanh(load(asked + j) + load(key + j));
                else
                    sums[i] += load(asked + j) * load(key + j);
            }
        return total(sums[0] + sums[1]);
    }

    // The mean of the memory, each step by how well it fits; padding is not read.
    void look_at_memory(long r, float* scores) const {
        float* const to = both + r * at.both;
        const long steps = cache.memory_steps, width = p.found(), memory = cache.memory[fed[r].place];
        std::fill_n(to, width, 0.0f);
        if (steps == 0) return;
        const float* const seen = cache.seen + memory * decode::whole(steps);
        const float* const keys = cache.memory_keys + memory * steps * at.units;
        const float* const values = cache.memory_values + memory * steps * width;
        const float* const asked =
            p.score == decode::additive ? query + r * at.units : to + p.found();
        std::fill_n(scores, decode::whole(steps), 0.0f);
        for (long s = 0; s < steps; ++s)
            if (seen[s] == 0) scores[s] = compare(asked, keys + s * at.units);
        const float sum = soften(scores, steps, 1, Shift{seen});
        for (long s = 0; s < steps; ++s) {
            if (seen[s] != 0) continue;
            const float share = scores[s] / sum;
            const float* const value = values + s * width;
            for (long k = 0; k < width; k += lanes<float>)
                store(to + k, load(to + k) + share * load(value + k));
        }
    }

    void mix_in(int part, const Bytes& bytes) const {
        const Share own = apply(p.mix, part, bytes, {both, at.both}, {stream, at.units});
        for (long r = 0; r < active(); ++r)
            for (long k = own.first * panel; k < own.last * panel; k += lanes<float>) {
                float* const y = stream + r * at.units + k;
                store(y, tanh(load(y)));
            }
    }

  public:
    const long rounds = static_cast<long>(order.size());  // of a step

    Recurrent(const decode::RecurrentPlan& plan, const decode::Call& call)
        : Network(call), p(plan),
          at(plan, call.most_rows(), call.threads, call.cache.memory_steps), vectors(call.scratch),
          stream(vectors + at.rows * at.vector), query(stream + at.rows * at.units),
          before(query + at.rows * at.units), both(before + at.layers * at.rows * at.units),
          input(both + at.rows * at.both), past(input + at.rows * at.gates),
          others(past + at.rows * at.gates) {}

    // A step begins with these rows; their outputs so far are put side by side.
    void begin(const std::vector<Fed>& rows) {
        fed = rows;
        for (long r = 0; r < active(); ++r) {
            if (p.table == nullptr)
                embed(p, fed[r].token, vectors + r * at.vector);
            else
                std::copy_n(p.table + fed[r].token * at.gates, at.gates, input + r * at.gates);
            for (long layer = 0; layer < at.layers; ++layer)
                std::copy_n(state(r, layer), at.units, before + (layer * at.rows + r) * at.units);
        }
    }

    void run(long round, int part) const {
        const auto [kind, layer] = order[round];
        const Own o = own(part);
        switch (kind) {
            case multiply: products(layer, part, o.bytes); break;
            case update: gates(layer, part); break;
            case ask:
                apply(p.query, part, o.bytes, {both + p.found(), at.both}, {query, at.units});
                break;
            case look_aside:
                each(part, active(), [&](long r) { look_at_memory(r, o.scores); });
                break;
            case mix: mix_in(part, o.bytes); break;
            case answer:
                apply(p.head, part, o.bytes, {stream, at.units},
                      {c.logits, decode::whole(p.head.rows)});
        }
    }

    void end() const {}

    void move(long from, long to) const { decode::move(p, cache, from, cache, to); }
};

}  // namespace throughtime::TT_ISA
