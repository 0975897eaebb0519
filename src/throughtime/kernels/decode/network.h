// What a step of any decoder is made of, whatever lies between its tokens and its logits.
#pragma once

#include <vector>

#include "apply.h"

namespace throughtime::TT_ISA {

// A row that goes on: where it lies in the cache, and the token that it is fed.
struct Fed {
    long place, token;
};

// The rows of a step, and the matrices that parts of it share.
class Network {
  protected:
    const decode::Call& c;
    const decode::Cache& cache = c.cache;
    const int parts = c.threads;
    std::vector<Fed> fed;

    explicit Network(const decode::Call& call) : c(call) {}

    long active() const { return static_cast<long>(fed.size()); }

    // This part's panels of to[row] = W from[row] + b, and sum[row] where there is one; which those are.
    struct Share {
        long first, last;
    };
    Share apply(const decode::Matrix& m, int part, const Bytes& bytes, Rows<const float> from,
                Rows<float> to, Rows<const float> sum = {}) const {
        const Share own{m.count() * part / parts, m.count() * (part + 1) / parts};
        if (own.first < own.last)
            throughtime::TT_ISA::apply(m, active(), from, bytes, own.first, own.last, to, sum);
        return own;
    }

    // f(i) for this part's share of 0 .. count.
    template <class F>
    void each(int part, long count, const F& f) const {
        for (long i = count * part / parts; i < count * (part + 1) / parts; ++i) f(i);
    }

    // A token's vector, with zeros up to whole panels.
    static void embed(const decode::Plan& p, long token, float* to) {
        std::copy_n(p.embedding + token * p.size, p.size, to);
        std::fill(to + p.size, to + decode::whole(p.size), 0.0f);
    }
};

}  // namespace throughtime::TT_ISA
