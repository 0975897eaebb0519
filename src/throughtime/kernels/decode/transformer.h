// A Transformer's steps: a token of each row in, logits out, as rounds of work that threads may share.
#pragma once

#include "look.h"
#include "move.h"
#include "network.h"

namespace throughtime::TT_ISA {

class Transformer : Network {
    using Block = decode::Block;

    // Rounds of a block, in this order; without a memory three of them fall out. One more gives logits.
    enum Round { project, look_back, mix, ask, look_aside, mix_aside, widen, narrow };

    const decode::TransformerPlan& p;
    const decode::TransformerScratch at;
    const long blocks = static_cast<long>(p.blocks.size());
    const bool has_memory = p.blocks[0].memory_query.rows != 0;
    const long per_block = has_memory ? 8 : 5;

    // Shared by all parts, [rows][...]: the residual stream; what heads found; queries, keys and
    // values; what the feed-forward layer's first matrix gave; cosines and sines.
    float *const stream, *const found, *const input, *const wide, *const turns;
    float* const others;

    // Rows, one after the other, that look at the same memory.
    struct Run {
        long first, count, memory;
    };
    std::vector<Run> runs;

    // What each part has for itself: the normed stream; what bent, [rows][deep]; room for a product;
    // scores and means of queries that share keys.
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
        o.means = o.scores + at.queries * at.slots;
        return o;
    }

    // A layer's answer added to what it was asked, or to what the norm made of that.
    void add(const decode::Matrix& m, int part, const Own& o, Rows<const float> from) const {
        const float* sum = p.norm_first ? stream : o.normed;
        apply(m, part, o.bytes, from, {stream, at.stream}, {sum, at.stream});
    }

    Rows<const float> normed(const decode::Norm& n, const Own& o) const {
        for (long r = 0; r < active(); ++r)
            norm(n, p.size, stream + r * at.stream, o.normed + r * at.stream);
        return {o.normed, at.stream};
    }

    // The vector of a token, with its position.
    void place_token(long r) const {
        const std::int64_t count = cache.counts[fed[r].place];
        float* to = stream + r * at.stream;
        embed(p, fed[r].token, to);
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

    // No more than the scratch has room for.
    void find_runs() {
        runs.clear();
        for (long r = 0; r < active(); ++r) {
            const long memory = cache.memory[fed[r].place];
            if (runs.empty() || runs.back().memory != memory || runs.back().count == at.queries)
                runs.push_back({r, 0, memory});
            ++runs.back().count;
        }
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
        const long place = (fed[r].place * blocks + block) * p.kv_heads + head;
        const long count = cache.counts[fed[r].place], slot = count % ring;
        float* const keys = cache.keys + place * p.key_size();
        float* const values = cache.values + place * p.value_size();
        float* const key = keys + slot / panel * D * panel + slot % panel;
        for (long d = 0; d < D; ++d) key[d * panel] = k[d];
        for (long d = 0; d < D; d += panel)
            std::copy_n(v + d, std::min(panel, D - d), values + (d / panel * ring + slot) * panel);
        look({group, D, ring, std::min(count + 1, ring)}, {q, D}, keys, values,
             [&](long g) {
                 return Shift{nullptr, p.slopes ? p.slopes[head * group + g] : 0, slot, ring};
             },
             {o.scores, at.slots}, {o.means, at.head},
             {found + r * at.stream + head * group * D, D});
    }

    // The rows of a run share keys and values, so these are read once for all.
    void look_at_memory(long block, const Run& run, long head, const Own& o) const {
        const long D = p.head_size, group = p.group(), steps = cache.memory_steps;
        float* const to = found + run.first * at.stream + head * group * D;
        if (steps == 0) {
            for (long r = 0; r < run.count; ++r) std::fill_n(to + r * at.stream, group * D, 0.0f);
            return;
        }
        const long padded = decode::whole(steps), of_block = run.memory * blocks + block;
        const long place = of_block * p.kv_heads + head;
        const auto ask = [&](long count, Rows<const float> queries, Rows<float> answers) {
            look({count, D, steps, steps}, queries, cache.memory_keys + place * padded * D,
                 cache.memory_values + place * decode::panels(D) * steps * panel,
                 [&](long) { return Shift{cache.seen + of_block * padded}; },
                 {o.scores, at.slots}, {o.means, at.head}, answers);
        };
        const float* const q = input + run.first * at.input + head * group * D;
        if (run.count == 1)
            ask(group, {q, D}, {to, D});
        else
            for (long g = 0; g < group; ++g)
                ask(run.count, {q + g * D, at.input}, {to + g * D, at.stream});
    }

    void run_block(long n, long round, int part, const Own& o) const {
        const Block& b = p.blocks[n];
        switch (round) {
            case project:
                apply(b.attention_input, part, o.bytes, normed(b.attention_norm, o),
                      {input, at.input});
                break;
            case look_back:
                each(part, active() * p.kv_heads, [&](long i) {
                    look_at_past(n, i / p.kv_heads, i % p.kv_heads, o);
                });
                break;
            case mix: add(b.attention_output, part, o, {found, at.stream}); break;
            case ask:
                apply(b.memory_query, part, o.bytes, normed(b.memory_norm, o), {input, at.input});
                break;
            case look_aside:
                each(part, static_cast<long>(runs.size()) * p.kv_heads, [&](long i) {
                    look_at_memory(n, runs[i / p.kv_heads], i % p.kv_heads, o);
                });
                break;
            case mix_aside: add(b.memory_output, part, o, {found, at.stream}); break;
            case widen:
                apply(b.feed_input, part, o.bytes, normed(b.feed_norm, o), {wide, at.wide});
                break;
            case narrow:
                for (long r = 0; r < active(); ++r)
                    bend(p.activation, p.hidden, wide + r * at.wide, o.bent + r * at.deep);
                add(b.feed_output, part, o, {o.bent, at.deep});
        }
    }

  public:
    const long rounds = blocks * per_block + 1;  // of a step

    Transformer(const decode::TransformerPlan& plan, const decode::Call& call)
        : Network(call), p(plan),
          at(plan, call.most_rows(), call.threads, call.cache.memory_steps), stream(call.scratch),
          found(stream + at.rows * at.stream), input(found + at.rows * at.stream),
          wide(input + at.rows * at.input), turns(wide + at.rows * at.wide),
          others(turns + at.rows * at.turns) {}

    // A step begins with these rows.
    void begin(const std::vector<Fed>& rows) {
        fed = rows;
        for (long r = 0; r < active(); ++r) place_token(r);
        if (has_memory) find_runs();
    }

    void run(long round, int part) const {
        const long n = round / per_block, within = round % per_block;
        const Own o = own(part);
        if (n < blocks)
            run_block(n, within < ask || has_memory ? within : within + 3, part, o);
        else
            apply(p.head, part, o.bytes, normed(p.last_norm, o),
                  {c.logits, decode::whole(p.head.rows)});
    }

    void end() const {
        for (const Fed& row : fed) ++cache.counts[row.place];
    }

    void move(long from, long to) const { decode::move(p, cache, from, cache, to); }
};

}  // namespace throughtime::TT_ISA
