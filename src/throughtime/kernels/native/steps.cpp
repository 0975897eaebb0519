#include "steps.h"

#include <algorithm>

namespace throughtime {

Steps::Steps(long batch, long time, const unsigned char* mask, const unsigned char* reset,
             int threads, long chunk) {
    // The real steps of every row, one row after the other.
    std::vector<Row> rows(batch);
    std::vector<std::int64_t> real, previous;
    std::vector<long> first(batch);
    real.reserve(batch * time);
    previous.reserve(batch * time);
    for (long b = 0; b < batch; ++b) {
        first[b] = static_cast<long>(real.size());
        std::int64_t last = start;
        for (std::int64_t step = b * time; step < (b + 1) * time; ++step) {
            if (reset != nullptr && reset[step]) last = fresh;
            if (mask != nullptr && !mask[step]) continue;
            real.push_back(step);
            previous.push_back(last);
            resets |= last == fresh;
            last = step;
        }
        rows[b] = {b, static_cast<long>(real.size()) - first[b], last == fresh};
    }
    std::stable_sort(rows.begin(), rows.end(),
                     [](const Row& a, const Row& b) { return a.count > b.count; });

    shares.resize(threads);
    for (long i = 0; i < batch; ++i) shares[i % threads].rows.push_back(rows[i]);
    const long iterations = batch == 0 ? 0 : rows[0].count;
    for (Share& share : shares) {
        share.active.resize(iterations);
        share.slot.resize(iterations);
        long active = static_cast<long>(share.rows.size());
        for (long k = 0; k < iterations; ++k) {
            while (active > 0 && share.rows[active - 1].count <= k) --active;
            share.active[k] = active;
        }
    }

    slots = static_cast<long>(real.size());
    at.resize(slots);
    before.resize(slots);
    long slot = 0;
    for (long k = 0; k < iterations;) {
        Chunk next{k, k, slot, slot};
        for (long size = 0; next.last < iterations && size < chunk; ++next.last)
            for (const Share& share : shares) size += share.active[next.last];
        for (Share& share : shares)
            for (k = next.first; k < next.last; ++k) {
                share.slot[k] = slot;
                for (long row = 0; row < share.active[k]; ++row, ++slot) {
                    const long from = first[share.rows[row].batch] + k;
                    at[slot] = real[from];
                    before[slot] = previous[from];
                }
            }
        next.last_slot = slot;
        chunks.push_back(next);
        k = next.last;
    }
}

}  // namespace throughtime
