// Which token comes next: the likeliest, or one drawn as throughtime.decoding.Sampling says, in float64.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include "../native/functions.h"
#include "plan.h"

namespace throughtime::TT_ISA {

// The first of the largest; NaN counts as the largest, as with torch.
template <class T>
long likeliest(const T* x, long count) {
    // Each lane has its own, and goes on from a NaN no more.
    const auto better = [](auto a, auto b) { return (b == b) & ((a <= b) == 0); };
    vec<T> most = broadcast(-std::numeric_limits<T>::infinity());
    bits<T> at{}, place;
    for (int i = 0; i < lanes<T>; ++i) at[i] = place[i] = i;
    long k = 0;
    for (; k + lanes<T> <= count; k += lanes<T>, place += lanes<T>) {
        const vec<T> v = load(x + k);
        const auto mask = better(v, most);
        at = select(mask, place, at);
        most = select(mask, v, most);
    }
    long best = k == 0 ? 0 : static_cast<long>(at[0]);
    for (int i = 1; i < lanes<T> && k > 0; ++i) {
        const long other = static_cast<long>(at[i]);
        const bool equal = x[other] == x[best] || (x[other] != x[other] && x[best] != x[best]);
        if (better(x[other], x[best]) || (equal && other < best)) best = other;
    }
    for (; k < count; ++k)
        if (better(x[k], x[best])) best = k;
    return best;
}

// to = e^(x - top); their sum.
inline double powers(const double* x, long count, double top, double* to) {
    double sum = 0;
    for (long k = 0; k < count; k += lanes<double>) {
        const int some = static_cast<int>(std::min<long>(lanes<double>, count - k));
        const vec<double> e = exp(load_some(x + k, some) - top);
        store_some(to + k, e, some);
        for (int i = 0; i < some; ++i) sum += e[i];
    }
    return sum;
}

// The logarithm of the sum of e^(x - top); NaN where one of them is.
inline double log_sum(const float* x, long count, float top) {
    typedef double Wide __attribute__((vector_size(2 * TT_VECTOR_BYTES)));
    Wide sums{};
    long k = 0;
    for (; k + lanes<float> <= count; k += lanes<float>)
        sums += __builtin_convertvector(exp(load(x + k) - top), Wide);
    double sum = 0;
    for (int i = 0; i < lanes<float>; ++i) sum += sums[i];
    const vec<float> last = exp(load_some(x + k, static_cast<int>(count - k)) - top);
    for (int i = 0; i < count - k; ++i) sum += last[i];
    return std::log(sum);
}

// How likely a token is under the logits themselves, in nats; NaN where one of them is.
inline float log_prob(const float* logits, long count, long token) {
    const float top = logits[likeliest(logits, count)];
    return static_cast<float>(logits[token] - top - log_sum(logits, count, top));
}

class Chooser {
    const decode::Sampling& s;
    const long count;
    std::vector<double> x, share;
    std::vector<long> order;

    void drop(long k) { x[k] = -__builtin_inf(); }

    double top() const { return *std::max_element(x.begin(), x.end()); }

    void keep_top_k() {
        const long k = std::min(s.top_k, count);
        share = x;
        std::nth_element(share.begin(), share.begin() + (k - 1), share.end(), std::greater<>());
        const double last = share[k - 1];
        for (long i = 0; i < count; ++i)
            if (x[i] < last) drop(i);
    }

    // A token stays if all that are likelier have less than p; of equals the first comes first.
    void keep_top_p() {
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&](long a, long b) { return x[a] > x[b]; });
        const double sum = powers(x.data(), count, x[order[0]], share.data());
        double likelier = 0;
        for (const long k : order) {
            const double own = share[k] / sum;
            if (!(likelier < s.top_p)) drop(k);
            likelier += own;
        }
    }

    void keep_min_p() {
        powers(x.data(), count, top(), share.data());  // that of the likeliest is 1
        for (long k = 0; k < count; ++k)
            if (share[k] < s.min_p) drop(k);
    }

  public:
    Chooser(const decode::Sampling& sampling, long count)
        : s(sampling), count(count), x(count), share(count), order(count) {}

    long choose(const float* logits, const unsigned char* seen, double uniform) {
        if (s.greedy && seen == nullptr) return likeliest(logits, count);
        std::copy_n(logits, count, x.begin());
        if (seen != nullptr)
            for (long k = 0; k < count; ++k)
                if (seen[k]) x[k] = x[k] > 0 ? x[k] / s.penalty : x[k] * s.penalty;
        const long best = likeliest(x.data(), count);
        if (s.greedy || x[best] != x[best]) return best;
        if (s.temperature != 1) {
            const double most = x[best];
            for (double& one : x) one = (one - most) / s.temperature;
        }
        if (s.top_k > 0) keep_top_k();
        if (s.top_p > 0) keep_top_p();
        if (s.min_p > 0) keep_min_p();
        // The token in whose part of [0, 1) the number falls.
        powers(x.data(), count, top(), share.data());
        std::partial_sum(share.begin(), share.end(), share.begin());
        const double all = share.back();
        for (double& one : share) one /= all;
        return std::upper_bound(share.begin(), share.end() - 1, uniform) - share.begin();
    }
};

}  // namespace throughtime::TT_ISA
