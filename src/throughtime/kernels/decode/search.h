// Beam search: several hypotheses of each row side by side, as throughtime.decoding.beam_search has it.
#pragma once

#include <limits>

#include "../native/parallel.h"
#include "choose.h"
#include "network.h"

namespace throughtime::TT_ISA {

// A token that may come next, in nats.
struct Likely {
    float log_prob;
    long token;
};

template <class M>
[[gnu::always_inline]] inline bool any(M mask) {
#if defined(__AVX512DQ__) && TT_VECTOR_BYTES == 64
    return _mm512_movepi32_mask((__m512i)mask) != 0;
#elif defined(__AVX2__) && TT_VECTOR_BYTES == 32
    return _mm256_movemask_ps((__m256)mask) != 0;
#else
    bool some = false;
    for (int i = 0; i < lanes<float>; ++i) some |= mask[i] != 0;
    return some;
#endif
}

// The likeliest `most` tokens, the likeliest first; of equals the lower id. How many there are, without
// those that cannot come at all; -1 where there is NaN.
inline long likeliest(const float* logits, long count, long most, Likely* to) {
    const float top = logits[likeliest(logits, count)];
    const float all = static_cast<float>(log_sum(logits, count, top));
    if (all != all) return -1;
    float least = -std::numeric_limits<float>::infinity();  // what is not above it comes too late
    long found = 0;
    const auto put = [&](float log_prob, long token) {
        if (!(log_prob > least)) return;
        long at = found < most ? found++ : most - 1;
        for (; at > 0 && to[at - 1].log_prob < log_prob; --at) to[at] = to[at - 1];
        to[at] = {log_prob, token};
        if (found == most) least = to[most - 1].log_prob;
    };
    long k = 0;
    for (; k + lanes<float> <= count; k += lanes<float>) {
        const vec<float> x = load(logits + k) - top - all;
        if (any(x > least))
            for (int i = 0; i < lanes<float>; ++i) put(x[i], k + i);
    }
    for (; k < count; ++k) put(logits[k] - top - all, k);
    return found;
}

template <class Decoder>
class Searcher {
    // Tokens are kept as ways back, which hypotheses share; the first node is the beginning.
    struct Node {
        std::int32_t before, token;
    };
    struct Hypothesis {
        float log_prob;
        long place, node;
    };
    struct Output {
        float score, log_prob;
        long node, length;
        bool ended;
    };
    struct Row {
        long row;
        std::vector<Hypothesis> going;
    };
    struct Next {
        float log_prob;
        long parent, token;
    };

    const decode::Call& c;
    const decode::Search& s;
    const long tokens;
    const long most = std::min(s.beams + s.stop_count, tokens);  // that follow a hypothesis
    Decoder decoder;
    const long per_step = decoder.rounds + 2;
    std::vector<Node> nodes{{-1, -1}};
    std::vector<Row> live;
    std::vector<std::vector<Output>> found;  // of each row, the best first
    // Of each hypothesis that goes on: what follows, [most]; and how many there are.
    std::vector<Likely> likely;
    std::vector<long> counts;

    void begin_step() {
        std::vector<Fed> fed;
        for (const Row& row : live)
            for (const Hypothesis& h : row.going) {
                const long token = nodes[h.node].token;
                fed.push_back({h.place, token < 0 ? c.tokens[row.row] : token});
            }
        counts.assign(fed.size(), 0);
        likely.resize(fed.size() * most);
        decoder.begin(fed);
    }

    void weigh(int part) {
        const long count = static_cast<long>(counts.size()), width = decode::whole(tokens);
        for (long r = count * part / c.threads; r < count * (part + 1) / c.threads; ++r)
            counts[r] = likeliest(c.logits + r * width, tokens, most, likely.data() + r * most);
    }

    long node(long before, long token) {
        nodes.push_back({static_cast<std::int32_t>(before), static_cast<std::int32_t>(token)});
        return static_cast<long>(nodes.size()) - 1;
    }

    float share(long length) const {
        return static_cast<float>(std::pow(static_cast<double>(length), s.penalty));
    }

    // Of equals the one found first stays first; those that did not end come last of all.
    void keep(long row, const Output& output) {
        std::vector<Output>& all = found[row];
        if (output.score == -std::numeric_limits<float>::infinity()) return;
        auto at = all.end();
        if (output.ended)
            at = std::find_if(all.begin(), all.end(),
                              [&](const Output& o) { return o.score < output.score; });
        all.insert(at, output);
        if (static_cast<long>(all.size()) > s.n_best) all.pop_back();
    }

    // The best candidates in turn, of equals that of the earlier hypothesis: those that end are found
    // if they are among the first `beams`, of the others so many go on. `first` is the row of logits
    // of the first hypothesis.
    std::vector<Next> follow(const Row& row, long first, long length) {
        const long width = static_cast<long>(row.going.size());
        std::vector<long> taken(width, 0);
        std::vector<Next> next;
        for (long i = 0; i < s.beams * (1 + s.stop_count); ++i) {
            Next best{-std::numeric_limits<float>::infinity(), -1, -1};
            for (long h = 0; h < width; ++h) {
                if (taken[h] == counts[first + h]) continue;
                const Likely& one = likely[(first + h) * most + taken[h]];
                // Rounding must not bring a log probability above 0.
                const float sum = row.going[h].log_prob + std::min(one.log_prob, 0.0f);
                if (sum > best.log_prob) best = {sum, h, one.token};
            }
            if (best.parent < 0) break;
            ++taken[best.parent];
            const bool full = static_cast<long>(next.size()) == s.beams;
            if (!c.stops[best.token]) {
                if (!full) next.push_back(best);
            } else if (i < s.beams) {
                const long last = node(row.going[best.parent].node, best.token);
                keep(row.row, {best.log_prob / share(length), best.log_prob, last, length, true});
            } else if (full) {
                break;
            }
        }
        return next;
    }

    // Whether nothing that goes on can still come before the worst that was found.
    bool settled(const Row& row, long length) const {
        const std::vector<Output>& all = found[row.row];
        if (row.going.empty()) return true;
        if (static_cast<long>(all.size()) < s.n_best) return false;
        const long best_length = s.penalty >= 0 ? c.steps : length + 1;
        return all.back().score >= row.going[0].log_prob / share(best_length);
    }

    // The first that goes on from a hypothesis stays where that lay; others take places that are free.
    void lay(Row& row, const std::vector<Next>& next) {
        const long base = c.places[row.row];
        std::vector<bool> used(s.beams, false), stayed(row.going.size(), false);
        for (const Next& n : next) used[row.going[n.parent].place - base] = true;
        std::vector<Hypothesis> going;
        long free = 0;
        for (const Next& n : next) {
            const Hypothesis& parent = row.going[n.parent];
            long place = parent.place;
            if (stayed[n.parent]) {
                while (used[free]) ++free;
                used[free] = true;
                place = base + free;
                decoder.move(parent.place, place);
            }
            stayed[n.parent] = true;
            going.push_back({n.log_prob, place, node(parent.node, n.token)});
        }
        row.going.swap(going);
    }

    void end_step(long length) {
        decoder.end();
        *s.diverged |= std::find(counts.begin(), counts.end(), -1) != counts.end();
        std::vector<Row> going;
        long first = 0;
        for (Row& row : live) {
            if (*s.diverged) break;
            const std::vector<Next> next = follow(row, first, length);
            first += static_cast<long>(row.going.size());
            lay(row, next);
            if (length == c.steps)
                for (const Hypothesis& h : row.going)
                    keep(row.row, {h.log_prob / share(length), h.log_prob, h.node, length, false});
            else if (!settled(row, length))
                going.push_back(std::move(row));
        }
        live.swap(going);
        if (!live.empty()) begin_step();
    }

    void hand_out() const {
        for (long row = 0; row < c.rows; ++row)
            for (std::size_t i = 0; i < found[row].size(); ++i) {
                const Output& o = found[row][i];
                const long at = row * s.n_best + static_cast<long>(i);
                s.lengths[at] = o.length;
                s.log_probs[at] = o.log_prob;
                s.scores[at] = o.score;
                s.ended[at] = o.ended;
                long node = o.node;
                for (long t = o.length; t-- > 0; node = nodes[node].before)
                    s.tokens[at * c.steps + t] = nodes[node].token;
            }
    }

  public:
    template <class Plan>
    Searcher(const Plan& plan, const decode::Call& call)
        : c(call), s(*call.search), tokens(plan.head.rows), decoder(plan, call), found(call.rows) {
        for (long row = 0; row < c.rows; ++row) live.push_back({row, {{0, c.places[row], 0}}});
    }

    void run() {
        begin_step();
        Rounds::run(c.threads, c.steps * per_step, [&](long round, int part) {
            const long within = round % per_step;
            if (within == decoder.rounds + 1) {
                if (part == 0 && !live.empty()) end_step(round / per_step + 1);
            } else if (live.empty()) {
                return;
            } else if (within == decoder.rounds) {
                weigh(part);
            } else {
                decoder.run(within, part);
            }
        });
        hand_out();
    }
};

}  // namespace throughtime::TT_ISA
