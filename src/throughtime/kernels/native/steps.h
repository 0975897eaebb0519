// Which steps are real, and in which order they are computed.
//
// A row's real steps are counted 0, 1, 2 ... wherever padding lies between them: iteration k computes
// the k-th real step of every row that has one. Rows are dealt out to threads by their number of real
// steps, each thread's longest first, so that the rows of an iteration are the first few of the
// thread's list. A slot is one real step; the slots of an iteration lie side by side in memory, those
// of a chunk of iterations too. Cost follows the real steps, whatever the padding.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace throughtime {

struct Row {
    long batch;      // which row of the input
    long count;      // its real steps
    bool reset_end;  // whether a sequence begins after its last real step
};

// What one thread computes: its rows, and by iteration how many of them and from which slot on.
struct Share {
    std::vector<Row> rows;
    std::vector<long> active, slot;
};

struct Chunk {
    long first, last;            // iterations [first, last)
    long first_slot, last_slot;  // slots [first_slot, last_slot)
};

struct Steps {
    bool resets = false;  // whether a sequence begins inside any row
    long slots = 0;
    std::vector<Share> shares;  // by thread
    std::vector<Chunk> chunks;
    std::vector<std::int64_t> at;  // by slot: batch * time + step
    // By slot: batch * time + step of the step before, whose output is the state; or one of these.
    std::vector<std::int64_t> before;
    static constexpr std::int64_t start = -1, fresh = -2;

    // mask, reset: [batch, time] or null. A chunk holds at least `chunk` slots, but for the last.
    Steps(long batch, long time, const unsigned char* mask, const unsigned char* reset, int threads,
          long chunk);
};

// How the work is dealt out to threads. By rows they never wait for each other. By units they do, at
// each step, but each reads its own part of the weights: for few rows, or weights that no cache of a
// core holds.
struct Deal {
    int threads;
    bool by_units;
    // By rows: threads that have any.
    int shares(long batch) const {
        return by_units ? 1 : static_cast<int>(std::clamp<long>(batch, 1, threads));
    }
    // As one number, for Python to keep.
    int code() const { return by_units ? -threads : threads; }
    static Deal from(int code) { return {code < 0 ? -code : code, code < 0}; }
};

// recurrent: multiplications per row and step in the recurrence; input: likewise before it.
inline Deal deal(int threads, long batch, long time, double recurrent, double input, bool resets) {
    // A second thread costs some microseconds to wake, and much more where a core is busy elsewhere;
    // small work does not repay that. Of a single row it can share the projections only.
    const double operations = 2.0 * batch * time * (recurrent + input);
    const bool few = batch < threads && batch * recurrent > 1.5e5;
    const bool large = batch <= 4 * threads && recurrent > 4e5;
    const bool by_units = (few || large) && !resets;
    if (threads < 2 || operations < (batch > 1 || by_units ? 5e6 : 4e7)) return {1, false};
    return {threads, by_units};
}

// Slots in a chunk: enough for a large product, few enough to stay in the second-level cache.
inline long chunk_slots(long row_bytes) { return std::clamp((1L << 20) / row_bytes, 256L, 512L); }

}  // namespace throughtime
