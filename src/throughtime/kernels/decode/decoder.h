// A decoder's steps: a token of each row in, logits out, as rounds of work that threads may share.
#pragma once

#include <vector>

#include "../native/parallel.h"
#include "apply.h"
#include "choose.h"
#include "look.h"

namespace throughtime::TT_ISA {

class Decoder {
    using Block = decode::Block;

    // Rounds of a block, in this order; without a memory three of them fall out. Two more end a step.
    enum Kind { project, look_back, mix, ask, look_aside, mix_aside, widen, narrow };

    const decode::Plan& p;
    const decode::Call& c;
    const decode::Cache& cache = c.cache;
    const decode::Scratch at;
    const long blocks = static_cast<long>(p.blocks.size());
    const bool has_memory = p.blocks[0].memory_query.rows != 0;
    const long per_block = has_memory ? 8 : 5, per_step = blocks * per_block + 2;

    // Shared by all parts, [rows][...]: the residual stream; what heads found; queries, keys and
    // values; what the feed-forward layer's first matrix gave; cosines and sines.
    float *const stream, *const found, *const input, *const wide, *const turns;
    float* const others;
    std::vector<long> row;  // which rows have not ended
    Chooser chooser;

    // What each part has for itself: the normed stream; what bent, [rows][deep]; room for a product;
    // scores and means of a group of heads.
    struct Own {
        float *normed, *bent;
        Bytes bytes;
        float *scores, *means;
    };

    Own own(int part) const {
        Own o;
        o.normed = others + part * at.of_part();
        o.bent = o.normed + at.rows * at.stream;
        o.bytes.scales = o.bent + at.rows * at.deep;
        o.bytes.at = reinterpret_cast<signed char*>(o.bytes.scales + at.rows * panel);
        o.bytes.stride = at.deep;
        o.scores = o.bytes.scales + at.rows * (panel + at.deep / 4);
        o.means = o.scores + at.group * at.slots;
        return o;
    }

    long active() const { return static_cast<long>(row.size()); }

    // This part's panels of to[row] = W from[row] + b, and sum[row] where there is one.
    void apply(const decode::Matrix& m, int part, const Own& o, Rows<const float> from,
               Rows<float> to, Rows<const float> sum = {}) const {
        const long first = m.count() * part / at.parts, last = m.count() * (part + 1) / at.parts;
        if (first < last) throughtime::TT_ISA::apply(m, active(), from, o.bytes, first, last, to, sum);
    }

    // A layer's answer added to what it was asked, or to what the norm made of that.
    void add(const decode::Matrix& m, int part, const Own& o, Rows<const float> from) const {
        const float* sum = p.norm_first ? stream : o.normed;
        apply(m, part, o, from, {stream, at.stream}, {sum, at.stream});
    }

    Rows<const float> normed(const decode::Norm& n, const Own& o) const {
        for (long r = 0; r < active(); ++r)
            norm(n, p.size, stream + r * at.stream, o.normed + r * at.stream);
        return {o.normed, at.stream};
    }

    // The vector of a token, with its position.
    void embed(long r) const {
        const std::int64_t count = cache.counts[row[r]];
        const float* from = p.embedding + c.tokens[row[r]] * p.size;
        float* to = stream + r * at.stream;
        std::copy_n(from, p.size, to);
        std::fill(to + p.size, to + at.stream, 0.0f);
        const auto angle = [&](double speed) { return static_cast<double>(count) * speed; };
        if (p.learned != nullptr)
            for (long k = 0; k < p.size; ++k) to[k] += p.learned[count % p.length * p.size + k];
        if (p.waves != nullptr)
            for (long k = 0; k < p.size; ++k) {
                const double a = angle(p.waves[k / 2]);
                to[k] += static_cast<float>(k % 2 == 0 ? std::sin(a) : std::cos(a));
            }
        if (p.turns != nullptr)
            for (long i = 0, half = p.head_size / 2; i < half; ++i) {
                turns[r * at.turns + i] = static_cast<float>(std::cos(angle(p.turns[i])));
                turns[r * at.turns + half + i] = static_cast<float>(std::sin(angle(p.turns[i])));
            }
    }

    // f(row, head of keys) for this part's share of them.
    template <class F>
    void each_group(int part, const F& f) const {
        const long count = active() * p.kv_heads;
        for (long i = count * part / at.parts; i < count * (part + 1) / at.parts; ++i)
            f(i / p.kv_heads, i % p.kv_heads);
    }

    long place(long block, long r, long head) const {
        return (row[r] * blocks + block) * p.kv_heads + head;
    }

    // Key and value of this step go into the ring, then it is looked at.
    void look_at_past(long block, long r, long head, const Own& o) const {
        const long D = p.head_size, group = p.group(), ring = p.slots();
        float* const q = input + r * at.input + head * group * D;
        float* const k = input + r * at.input + (p.heads + head) * D;
        const float* const v = k + p.kv_heads * D;
        if (p.turns != nullptr) {
            for (long g = 0; g < group; ++g) turn(q + g * D, D / 2, turns + r * at.turns);
            turn(k, D / 2, turns + r * at.turns);
        }
        const long count = cache.counts[row[r]], slot = count % ring;
        float* const keys = cache.keys + place(block, r, head) * p.key_size();
        float* const values = cache.values + place(block, r, head) * p.value_size();
        float* const key = keys + slot / panel * D * panel + slot % panel;
        for (long d = 0; d < D; ++d) key[d * panel] = k[d];
        for (long d = 0; d < D; d += panel)
            std::copy_n(v + d, std::min(panel, D - d), values + (d / panel * ring + slot) * panel);
        look({group, D, ring, std::min(count + 1, ring)}, q, keys, values,
             [&](long g) {
                 return Shift{nullptr, p.slopes ? p.slopes[head * group + g] : 0, slot, ring};
             },
             {o.scores, at.slots}, {o.means, at.head}, found + r * at.stream + head * group * D);
    }

    void look_at_memory(long block, long r, long head, const Own& o) const {
        const long D = p.head_size, group = p.group(), steps = cache.memory_steps;
        float* const to = found + r * at.stream + head * group * D;
        if (steps == 0) {
            std::fill_n(to, group * D, 0.0f);
            return;
        }
        const long whole = decode::panels(steps) * panel, at_place = place(block, r, head);
        look({group, D, steps, steps}, input + r * at.input + head * group * D,
             cache.memory_keys + at_place * whole * D,
             cache.memory_values + at_place * decode::panels(D) * steps * panel,
             [&](long) { return Shift{cache.seen + at_place / p.kv_heads * whole}; },
             {o.scores, at.slots}, {o.means, at.head}, to);
    }

    void run_block(long n, long kind, int part, const Own& o) const {
        const Block& b = p.blocks[n];
        switch (kind) {
            case project:
                apply(b.attention_input, part, o, normed(b.attention_norm, o), {input, at.input});
                break;
            case look_back:
                each_group(part, [&](long r, long head) { look_at_past(n, r, head, o); });
                break;
            case mix: add(b.attention_output, part, o, {found, at.stream}); break;
            case ask:
                apply(b.memory_query, part, o, normed(b.memory_norm, o), {input, at.input});
                break;
            case look_aside:
                each_group(part, [&](long r, long head) { look_at_memory(n, r, head, o); });
                break;
            case mix_aside: add(b.memory_output, part, o, {found, at.stream}); break;
            case widen:
                apply(b.feed_input, part, o, normed(b.feed_norm, o), {wide, at.wide});
                break;
            case narrow:
                for (long r = 0; r < active(); ++r)
                    bend(p.activation, p.hidden, wide + r * at.wide, o.bent + r * at.deep);
                add(b.feed_output, part, o, {o.bent, at.deep});
        }
    }

    // The step is over: each row goes on with the token that is chosen, or ends.
    void end_step(long step) {
        for (const long place : row) ++cache.counts[place];
        if (c.written == nullptr) return;
        const long tokens = p.head.rows, width = p.head.count() * panel;
        std::vector<long> going;
        going.reserve(row.size());
        for (long r = 0; r < active(); ++r) {
            const long place = row[r], at_step = place * c.steps + step;
            const float* logits = c.logits + r * width;
            unsigned char* seen = c.sampling.seen;
            if (seen != nullptr) seen += place * tokens;
            const double* uniforms = c.sampling.uniforms;
            const long token = chooser.choose(logits, seen, uniforms ? uniforms[at_step] : 0);
            c.written[at_step] = c.tokens[place] = token;
            c.log_probs[at_step] = log_prob(logits, tokens, token);
            if (seen != nullptr) seen[token] = 1;
            if (!c.stops[token]) going.push_back(place);
        }
        row.swap(going);
        if (step + 1 < c.steps)
            for (long r = 0; r < active(); ++r) embed(r);
    }

  public:
    Decoder(const decode::Plan& plan, const decode::Call& call)
        : p(plan), c(call), at(plan, call.rows, call.threads, call.cache.memory_steps),
          stream(call.scratch), found(stream + at.rows * at.stream),
          input(found + at.rows * at.stream), wide(input + at.rows * at.input),
          turns(wide + at.rows * at.wide), others(turns + at.rows * at.turns), row(call.rows),
          chooser(call.sampling, call.written ? plan.head.rows : 0) {
        for (long r = 0; r < c.rows; ++r) row[r] = r;
    }

    void run() {
        for (long r = 0; r < active(); ++r) embed(r);
        Rounds::run(c.threads, c.steps * per_step, [&](long round, int part) {
            const long kind = round % per_step, n = kind / per_block, within = kind % per_block;
            if (n < blocks) {
                run_block(n, within < ask || has_memory ? within : within + 3, part, own(part));
            } else if (kind == per_step - 2) {
                const Own o = own(part);
                apply(p.head, part, o, normed(p.last_norm, o), {c.logits, p.head.count() * panel});
            } else if (part == 0) {
                end_step(round / per_step);
            }
        });
    }
};

}  // namespace throughtime::TT_ISA
