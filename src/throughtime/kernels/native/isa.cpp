// Compiled once per instruction set: TT_ISA names it, TT_VECTOR_BYTES is the width of its vectors.
#include "../gru/cell.h"
#include "../lstm/cell.h"
#include "../rnn/cell.h"
#include "backward.h"
#include "recurrence.h"
#include "step.h"
#include "table.h"

namespace throughtime {
namespace TT_ISA {

// Of decode/isa.cpp.
void run_decode(const decode::Plan& plan, const decode::Call& call);
void run_bend(decode::Activation kind, long count, const float* from, float* to);

namespace {

template <class T, class Cell>
void run_forward(const Problem& problem) {
    Forward<T, Cell>(problem).run();
}

template <class T, class Cell>
void run_backward(const Problem& problem, const Gradients& gradients) {
    Backward<T, Cell>(problem, gradients).run();
}

template <class T, class Cell>
void run_step(const Problem& problem) {
    Step<T, Cell>(problem).run();
}

template <class T>
using RNNTanh = RNN<T, Tanh>;
template <class T>
using RNNRelu = RNN<T, Relu>;
template <class T>
using RNNSigmoid = RNN<T, Sigmoid>;

template <template <class> class Cell>
constexpr void fill(Table& table, int code) {
    table.forward[code][0] = run_forward<float, Cell<float>>;
    table.forward[code][1] = run_forward<double, Cell<double>>;
    table.backward[code][0] = run_backward<float, Cell<float>>;
    table.backward[code][1] = run_backward<double, Cell<double>>;
    table.step[code][0] = run_step<float, Cell<float>>;
    table.step[code][1] = run_step<double, Cell<double>>;
}

template <class T, vec<T> (*function)(vec<T>)>
void evaluate(long count, const void* from, void* to) {
    for (long v = 0; v * lanes<T> < count; ++v)
        store_within(typed<T>(to), v, count, function(load_within(typed<T>(from), v, count)));
}

constexpr Table make() {
    Table table{};
    table.name = TT_ISA_NAME;
    fill<RNNTanh>(table, rnn_tanh);
    fill<RNNRelu>(table, rnn_relu);
    fill<RNNSigmoid>(table, rnn_sigmoid);
    fill<LSTM>(table, lstm);
    fill<GRU>(table, gru);
    table.evaluate[0][0] = evaluate<float, exp<vec<float>>>;
    table.evaluate[0][1] = evaluate<double, exp<vec<double>>>;
    table.evaluate[1][0] = evaluate<float, sigmoid<vec<float>>>;
    table.evaluate[1][1] = evaluate<double, sigmoid<vec<double>>>;
    table.evaluate[2][0] = evaluate<float, tanh<vec<float>>>;
    table.evaluate[2][1] = evaluate<double, tanh<vec<double>>>;
    table.decode = run_decode;
    table.bend = run_bend;
    return table;
}

}  // namespace

// Filled in by the compiler: code that ran at load time would run on processors without these
// instructions too. (Not const alone: a constant would have no linkage outside.)
extern const Table table;
constinit const Table table = make();

}  // namespace TT_ISA
}  // namespace throughtime
