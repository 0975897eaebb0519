// What a decoder is and what a step of it works on: raw pointers and sizes, nothing of torch. Python
// lays out the memory (packing.py); the same for every instruction set.
#pragma once

#include <cstdint>
#include <vector>

namespace throughtime::decode {

// Columns of a packed matrix that lie side by side: two cache lines of float.
constexpr long panel = 32;

constexpr long panels(long columns) { return (columns + panel - 1) / panel; }

// y = W x + b, packed: [panels of rows][depth][panel] of float, or, where there are scales,
// [panels of rows][fours of depth][panel][4] of int8, whose rows count `scales` each. Scales and
// shifts are there for whole panels.
struct Matrix {
    const void* weights = nullptr;
    const float* scales = nullptr;
    const float* bias = nullptr;
    long rows = 0, depth = 0;

    long count() const { return panels(rows); }
    long fours() const { return (depth + 3) / 4; }
};

struct Norm {
    const float* weight = nullptr;  // null: no norm at all
    const float* bias = nullptr;
    float epsilon = 0;
    bool rms = false;
};

// A part of the residual sum: what is read of it goes through `norm` first.
struct Block {
    Norm attention_norm;
    Matrix attention_input, attention_output;
    Norm memory_norm;
    Matrix memory_query, memory_output;  // without rows: nothing but itself to look at
    Norm feed_norm;
    Matrix feed_input, feed_output;
};

enum Activation : int { gelu, relu, swiglu };

struct Plan {
    long size = 0, heads = 0, kv_heads = 0, head_size = 0, hidden = 0, horizon = 0;
    Activation activation = gelu;
    bool norm_first = true;          // else what is added to is what the norm gave
    long tokens = 0;                   // vectors, that of the beginning included
    const float* embedding = nullptr;  // [tokens, size]
    const float* learned = nullptr;    // [length, size], added; or null
    long length = 0;
    const double* waves = nullptr;     // [size / 2], radians per step, added; or null
    const double* turns = nullptr;     // [head_size / 2], radians per step of rotary; or null
    const float* slopes = nullptr;     // [heads], of alibi; or null
    std::vector<Block> blocks;
    Norm last_norm;
    Matrix head;

    long group() const { return heads / kv_heads; }
    long slots() const { return horizon + 1; }  // a step sees itself and `horizon` before it
    long key_size() const { return panels(slots()) * head_size * panel; }
    long value_size() const { return panels(head_size) * slots() * panel; }
};

// What rows remember. Steps lie in a ring: that of index i in slot i % slots.
//
// Keys are panels of slots, [row][block][kv head][panels of slots][head size][panel]; values panels of
// features, [row][block][kv head][panels of features][slots][panel]: the scores and the mean are
// products with a packed matrix, like any other. A memory is laid out likewise, `seen` says of
// [row][block][panels of its steps] whether a step is real: 0 or minus infinity.
struct Cache {
    float *keys = nullptr, *values = nullptr;
    std::int64_t* counts = nullptr;  // [row], steps so far
    const float *memory_keys = nullptr, *memory_values = nullptr, *seen = nullptr;
    long memory_steps = 0;
};

// How the next token is chosen, see throughtime.decoding.Sampling; 0 is no limit.
struct Sampling {
    bool greedy = true;
    double temperature = 1, top_p = 0, min_p = 0, penalty = 1;
    long top_k = 0;
    const double* uniforms = nullptr;  // [rows][steps], in [0, 1)
    unsigned char* seen = nullptr;     // [rows][tokens], which tokens a row has had; or null
};

// Some steps of some rows. With one step the logits may be all there is; otherwise each row goes on with
// the token that was chosen, up to one that stops it.
struct Call {
    Cache cache;
    long rows = 0, steps = 1;
    int threads = 1;
    std::int64_t* tokens = nullptr;        // [rows], the next to be fed; changed as it goes on
    float* logits = nullptr;               // [rows][panels of tokens]
    std::int64_t* written = nullptr;       // [rows][steps], -1 after the end; null: only logits
    float* log_probs = nullptr;            // [rows][steps]
    const unsigned char* stops = nullptr;  // [tokens], whether a token stops
    Sampling sampling;
    float* scratch = nullptr;              // so long as `Scratch` says
};

// What a call needs beside the cache, in floats.
struct Scratch {
    long rows, parts, group;
    // Numbers of each row in the buffers of decoder.h; whole panels.
    long stream, input, wide, deep, turns, slots, head;

    Scratch(const Plan& p, long rows, long parts, long memory_steps)
        : rows(rows), parts(parts), group(p.group()), stream(whole(p.size)),
          input(whole((p.heads + 2 * p.kv_heads) * p.head_size)),
          wide(whole((p.activation == swiglu ? 2 : 1) * p.hidden) + panel),
          deep(whole(p.hidden > p.size ? p.hidden : p.size)), turns(whole(p.head_size)),
          slots(whole(p.slots() > memory_steps ? p.slots() : memory_steps)),
          head(whole(p.head_size)) {}

    long of_part() const {
        return rows * (stream + deep + deep / 4 + panel) + group * (slots + head);
    }
    long size() const { return rows * (2 * stream + input + wide + turns) + parts * of_part(); }

  private:
    static long whole(long n) { return panels(n) * panel; }
};

}  // namespace throughtime::decode
