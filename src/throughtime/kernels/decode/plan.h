// What a decoder is and what a step of it works on: raw pointers and sizes, nothing of torch. Python
// lays out the memory (packing.py); the same for every instruction set.
#pragma once

#include <cstdint>
#include <vector>

#include "../native/table.h"

namespace throughtime::decode {

// Columns of a packed matrix that lie side by side: two cache lines of float.
constexpr long panel = 32;

constexpr long panels(long columns) { return (columns + panel - 1) / panel; }
constexpr long whole(long columns) { return panels(columns) * panel; }

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

enum Kind { transformer, recurrent };

// What every decoder has: vectors of tokens at one end, logits at the other.
struct Plan {
    Kind kind;
    long size = 0;                     // of a token's vector
    long tokens = 0;                   // vectors, that of the beginning included
    const float* embedding = nullptr;  // [tokens, size]
    Matrix head;

    explicit Plan(Kind kind) : kind(kind) {}
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

enum Activation : int { gelu, relu, swiglu, gelu_tanh, silu };

struct TransformerPlan : Plan {
    long heads = 0, kv_heads = 0, head_size = 0, hidden = 0, horizon = 0;
    Activation activation = gelu;
    bool norm_first = true;          // else what is added to is what the norm gave
    const float* learned = nullptr;  // [length, size], added; or null
    long length = 0;
    const double* waves = nullptr;  // [size / 2], radians per step, added; or null
    const double* turns = nullptr;  // [head_size / 2], radians per step of rotary; or null
    const float* slopes = nullptr;  // [heads], of alibi; or null
    std::vector<Block> blocks;
    Norm last_norm;

    TransformerPlan() : Plan(transformer) {}
    long group() const { return heads / kv_heads; }
    long slots() const { return horizon + 1; }  // a step sees itself and `horizon` before it
    long key_size() const { return panels(slots()) * head_size * panel; }
    long value_size() const { return panels(head_size) * slots() * panel; }
    // Products with the keys of a head that are made at a time: rows of one memory share them.
    long most_queries() const { return group() > 8 ? group() : 8; }
};

// A recurrent layer. Blocks of gates have whole panels each, in the order of the cell's code.
struct Cells {
    Matrix input, hidden;  // W x + b and U h + b_h
};

enum Score : int { nothing, additive, multiplicative };

// Recurrent layers; what the first gives looks at a memory, those above add to what they read.
struct RecurrentPlan : Plan {
    Cell cell = lstm;
    long hidden = 0;               // units of each layer
    std::vector<Cells> layers;
    const float* table = nullptr;  // [tokens][blocks of gates], W x + b of the first layer; or null
    Score score = nothing;
    long memory_size = 0;          // features of a step of the memory
    Matrix query;                  // additive: what keys are added to
    const float* weigh = nullptr;  // [whole(hidden)], how much each feature of the sum counts
    Matrix mix;                    // of what was found, whole(memory_size) numbers, and the output

    RecurrentPlan() : Plan(recurrent) {}
    long units() const { return whole(hidden); }
    long gates() const { return weight_blocks[cell] * units(); }
    long parts() const { return cell == lstm ? 2 : 1; }  // of a layer's state
    long found() const { return score == nothing ? 0 : whole(memory_size); }
    long state_size() const { return static_cast<long>(layers.size()) * parts() * units(); }
};

// What rows remember. A row lies at a place, which may change when rows are taken, and looks at one of
// the memories, which stay where they are.
//
// Of a Transformer: steps lie in a ring, that of index i in slot i % slots. Keys are panels of slots,
// [place][block][kv head][panels of slots][head size][panel]; values panels of features,
// [place][block][kv head][panels of features][slots][panel]: the scores and the mean are products
// with a packed matrix, like any other. A memory is laid out likewise. `seen` says of
// [memory][block][panels of its steps] whether a step is real: 0 or minus infinity.
//
// Of recurrent layers: states, [place][layer][h, c][units], whole panels. A memory has keys,
// [memory][steps][units], and values, [memory][steps][features], whole panels; `seen` has no blocks.
struct Cache {
    float *keys = nullptr, *values = nullptr;
    std::int64_t* counts = nullptr;  // [place], steps so far
    float* states = nullptr;
    std::int64_t* memory = nullptr;  // [place], which one is looked at
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

// A beam search, see throughtime.decoding.beam_search; and what it finds, the best of a row first.
struct Search {
    long beams = 1, n_best = 1, stop_count = 0;
    double penalty = 0;
    std::int64_t *tokens = nullptr, *lengths = nullptr;  // [rows][n_best][steps], [rows][n_best]
    float *log_probs = nullptr, *scores = nullptr;       // [rows][n_best]
    bool* ended = nullptr;                               // [rows][n_best]
    bool* diverged = nullptr;                            // whether there was NaN
};

// Some steps of some rows. With one step the logits may be all there is; otherwise each row goes on with
// the token that was chosen, up to one that stops it.
struct Call {
    Cache cache;
    const std::int64_t* places = nullptr;  // [rows]; for a search there are `beams` from each on
    long rows = 0, steps = 1;
    int threads = 1;
    std::int64_t* tokens = nullptr;        // [rows], the next to be fed; changed as it goes on
    float* logits = nullptr;               // [rows][panels of tokens]
    std::int64_t* written = nullptr;       // [rows][steps], -1 after the end; null: only logits
    float* log_probs = nullptr;            // [rows][steps]
    const unsigned char* stops = nullptr;  // [tokens], whether a token stops
    Sampling sampling;
    const Search* search = nullptr;  // then it has `beams` times as many rows of logits and scratch
    float* scratch = nullptr;        // so long as the network's `Scratch` says

    long most_rows() const { return search == nullptr ? rows : rows * search->beams; }
};

// What a call of a Transformer needs beside the cache, in floats.
struct TransformerScratch {
    long rows, parts, queries;
    // Numbers of each row in the buffers of transformer.h; whole panels.
    long stream, input, wide, deep, turns, slots, head;

    TransformerScratch(const TransformerPlan& p, long rows, long parts, long memory_steps)
        : rows(rows), parts(parts), queries(p.most_queries()), stream(whole(p.size)),
          input(whole((p.heads + 2 * p.kv_heads) * p.head_size)),
          wide(whole((p.activation == swiglu ? 2 : 1) * p.hidden) + panel),
          deep(whole(p.hidden > p.size ? p.hidden : p.size)), turns(whole(p.head_size)),
          slots(whole(p.slots() > memory_steps ? p.slots() : memory_steps)),
          head(whole(p.head_size)) {}

    long of_part() const {
        return rows * (stream + deep + deep / 4 + panel) + queries * (slots + head);
    }
    long size() const { return rows * (2 * stream + input + wide + turns) + parts * of_part(); }
};

// Likewise of recurrent layers, in the buffers of recurrent.h.
struct RecurrentScratch {
    long rows, parts, layers;
    long vector, units, gates, both, deep, slots;

    RecurrentScratch(const RecurrentPlan& p, long rows, long parts, long memory_steps)
        : rows(rows), parts(parts), layers(static_cast<long>(p.layers.size())),
          vector(whole(p.size)), units(p.units()), gates(p.gates()), both(p.found() + units),
          deep(vector > both ? vector : both), slots(whole(memory_steps)) {}

    long of_part() const { return rows * (deep / 4 + panel) + slots; }
    long size() const {
        return rows * (vector + (layers + 2) * units + both + 2 * gates) + parts * of_part();
    }
};

}  // namespace throughtime::decode
