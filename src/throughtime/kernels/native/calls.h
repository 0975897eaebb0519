// What a call hands over: raw pointers and sizes, nothing of torch.
#pragma once

namespace throughtime {

// One run over time. Matrices are row-major and contiguous; null where something is absent.
struct Problem {
    int threads;
    bool by_units;  // threads share the units of all rows, instead of the rows
    long batch, time, input, hidden;
    const void* x;                    // [batch, time, input]
    const unsigned char *mask, *reset;  // [batch, time]
    const void *weight_input, *weight_hidden, *bias, *bias_hidden;
    const void *hidden0, *cell0, *initial_hidden, *initial_cell;  // [batch, hidden]
    void* output;                        // [batch, time, hidden]
    void *last_hidden, *last_cell;       // [batch, hidden]
    void* gates;  // [batch * time, blocks, padded]: saved for backward; null: nothing is saved
    void* cells;  // [batch * time, padded]: the cell state before each step
};

// Gradients of what came out, any of them null for zero; and those asked for, the others null.
struct Gradients {
    const void *output, *last_hidden, *last_cell;
    void *x, *weight_input, *weight_hidden, *bias, *bias_hidden;
    void *hidden0, *cell0, *initial_hidden, *initial_cell;
};

template <class T>
T* typed(void* pointer) {
    return static_cast<T*>(pointer);
}
template <class T>
const T* typed(const void* pointer) {
    return static_cast<const T*>(pointer);
}

}  // namespace throughtime
