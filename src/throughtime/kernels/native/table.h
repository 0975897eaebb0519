// What one instruction set offers; each fills one table from the same source.
#pragma once

#include "calls.h"

namespace throughtime {

namespace decode {
struct Plan;
struct Call;
enum Activation : int;
}  // namespace decode

// Codes of the cells, as Python passes them.
enum Cell { rnn_tanh, rnn_relu, rnn_sigmoid, lstm, gru, cells };

// What is saved of a step: so many blocks, and where torch has each of them. And blocks of the weights.
constexpr int blocks[cells] = {1, 1, 1, 4, 4};
constexpr int weight_blocks[cells] = {1, 1, 1, 4, 3};
constexpr int saved_order[cells][4] = {{0}, {0}, {0}, {0, 1, 2, 3}, {2, 0, 1, 3}};

struct Table {
    const char* name;
    // By cell, and by type: float, double.
    void (*forward[cells][2])(const Problem&);
    void (*backward[cells][2])(const Problem&, const Gradients&);
    void (*step[cells][2])(const Problem&);
    // By function (exp, sigmoid, tanh) and type: element by element.
    void (*evaluate[3][2])(long count, const void* from, void* to);
    void (*decode)(const decode::Plan&, const decode::Call&);
    // What stands between the matrices of a feed-forward layer, element by element.
    void (*bend)(decode::Activation, long count, const float* from, float* to);
};

}  // namespace throughtime
