// Attention of one step over what is remembered: a group of query heads that share keys and values.
#pragma once

#include <cmath>

#include "apply.h"

namespace throughtime::TT_ISA {

// How scores are changed before the softmax.
struct Shift {
    const float* seen = nullptr;  // added: 0 or minus infinity; null: nothing is
    float slope = 0;              // of alibi: scores fall by it with each step of distance
    long own = 0, ring = 0;       // the step's own slot, and how many there are
};

inline float largest(vec<float> v) {
    float most = v[0];
    for (int i = 1; i < lanes<float>; ++i) most = most < v[i] ? v[i] : most;
    return most;
}

inline vec<float> counting(float first) {
    vec<float> v;
    for (int i = 0; i < lanes<float>; ++i) v[i] = first + static_cast<float>(i);
    return v;
}

// From scores to weights that add up to the returned number, zeros behind the first `valid`: whole
// panels are written. The sum is 0 where there is nothing to look at.
inline float soften(float* scores, long valid, float scale, const Shift& shift) {
    constexpr float nothing = -__builtin_inff();
    vec<float> most = broadcast(nothing);
    const long end = decode::panels(valid) * panel;
    vec<float> place = counting(0);
    for (long s = 0; s < end; s += lanes<float>, place += static_cast<float>(lanes<float>)) {
        vec<float> x = load(scores + s) * scale;
        if (shift.slope != 0) {
            const vec<float> ago = static_cast<float>(shift.own) - place;
            x -= shift.slope * select(ago < 0, ago + static_cast<float>(shift.ring), ago);
        }
        if (shift.seen != nullptr) x += load(shift.seen + s);
        x = select(place < static_cast<float>(valid), x, broadcast(nothing));
        store(scores + s, x);
        most = select(x > most, x, most);
    }
    const float top = largest(most);
    if (shift.seen != nullptr && top == nothing) {
        std::fill_n(scores, end, 0.0f);
        return 0;
    }
    vec<float> sum{};
    for (long s = 0; s < end; s += lanes<float>) {
        const vec<float> e = exp(load(scores + s) - top);
        store(scores + s, e);
        sum += e;
    }
    return total(sum);
}

// Turns each pair (x_i, x_{i + half}) by its angle: cosines, then sines.
inline void turn(float* x, long half, const float* angles) {
    for (long i = 0; i < half; ++i) {
        const float a = x[i], b = x[i + half], c = angles[i], s = angles[i + half];
        x[i] = a * c - b * s;
        x[i + half] = b * c + a * s;
    }
}

// What is looked at: some queries of `size` numbers share it. The first `valid` slots count.
struct View {
    long queries, size, slots, valid;
};

// What the queries find. keys: [panels of slots][size][panel], values: [panels of
// features][slots][panel]. change(query) says how scores change; scores and means are scratch, a row a
// query.
template <class Change>
void look(const View& view, Rows<const float> queries, const float* keys, const float* values,
          const Change& change, Rows<float> scores, Rows<float> means, Rows<float> found) {
    const auto keep_in = [](Rows<float> rows) {
        return [rows](long r, long q, const vec<float>* sums) {
            for (int v = 0; v < panel_vectors; ++v)
                store(rows.row(r) + q * panel + v * lanes<float>, sums[v]);
        };
    };
    const auto [count, size, slots, valid] = view;
    const long filled = decode::panels(valid);
    multiply(keys, size * panel, size, queries.at, queries.stride, count, 0, filled,
             keep_in(scores));
    const float scale = 1 / std::sqrt(static_cast<float>(size));
    for (long r = 0; r < count; ++r) {
        float* const row = scores.row(r);
        const float sum = soften(row, valid, scale, change(r)), share = sum == 0 ? 0 : 1 / sum;
        for (long s = 0; s < filled * panel; s += lanes<float>) store(row + s, load(row + s) * share);
    }
    multiply(values, slots * panel, valid, scores.at, scores.stride, count, 0, decode::panels(size),
             keep_in(means));
    for (long r = 0; r < count; ++r) std::copy_n(means.row(r), size, found.row(r));
}

}  // namespace throughtime::TT_ISA
