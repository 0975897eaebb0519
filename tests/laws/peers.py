"""The same layers by other means, on the layer's own weights, so that gradients can be compared."""

import torch

from throughtime.layers import GRU, LSTM, RNN, GRUState, LSTMState, RNNState


def weights(layer):
    """A layer's weights in torch.nn's four tensors: its second bias is zero, or GRU's b_h."""
    zeros = torch.zeros_like(layer.bias)
    if isinstance(layer, GRU):
        size = layer.hidden_size
        zeros = torch.cat([zeros[: 2 * size], layer.bias_hidden])  # pyright: ignore
    return [layer.weight_input, layer.weight_hidden, layer.bias, zeros]


def torch_rnn(layer, x, state):
    run = {"tanh": torch.rnn_tanh, "relu": torch.rnn_relu}[layer.activation]
    output, h = run(x, state.hidden[None], weights(layer), True, 1, 0.0, False, False, True)
    return output, RNNState(h[0])


def torch_lstm(layer, x, state):
    before = [state.hidden[None], state.cell[None]]
    output, h, c = torch.lstm(x, before, weights(layer), True, 1, 0.0, False, False, True)
    return output, LSTMState(h[0], c[0])


def torch_gru(layer, x, state):
    output, h = torch.gru(x, state.hidden[None], weights(layer), True, 1, 0.0, False, False, True)
    return output, GRUState(h[0])


def paper_gru(layer, x, state):
    """Cho et al. 2014, equations 5 to 8, but z and 1 - z exchanged as in torch.nn."""
    size = layer.hidden_size
    (wr, wz, wn), (ur, uz, un) = layer.weight_input.split(size), layer.weight_hidden.split(size)
    br, bz, bn = layer.bias.split(size)
    h, outputs = state.hidden, []
    for t in range(x.shape[1]):
        r = torch.special.expit(torch.einsum("ij,bj->bi", wr, x[:, t]) + h @ ur.T + br)
        z = torch.special.expit(torch.einsum("ij,bj->bi", wz, x[:, t]) + h @ uz.T + bz)
        n = torch.tanh(torch.einsum("ij,bj->bi", wn, x[:, t]) + (r * h) @ un.T + bn)
        h = z * h + (1 - z) * n
        outputs.append(h)
    return torch.stack(outputs, 1), GRUState(h)


def torch_stack(layer, x, state):
    peers = {RNN: torch_rnn, LSTM: torch_lstm, GRU: torch_gru}
    after = []
    for one, before in zip(layer.layers, state, strict=True):
        x, now = peers[type(one)](one, x, before)
        after.append(now)
    return x, tuple(after)


def torch_bidirectional_lstm(layer, x, state):
    h = x.new_zeros(2, x.shape[0], layer.over.hidden_size)
    both = weights(layer.over) + weights(layer.against)
    output, *_ = torch.lstm(x, [h, h], both, True, 1, 0.0, False, True, True)
    return output, ()


def torch_linear(layer, x, state):
    return torch.nn.functional.linear(x, layer.weight, layer.bias), ()


def torch_layer_norm(layer, x, state):
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
    return (x - mean) / (variance + layer.epsilon).sqrt() * layer.weight + layer.bias, ()


def torch_rms_norm(layer, x, state):
    return x / (x.square().mean(-1, keepdim=True) + layer.epsilon).sqrt() * layer.weight, ()


def shifted_window(layer, x, state):
    """Copies of the sequence, each one step later than the next."""
    line = torch.cat([state.past, x], dim=1)
    time = x.shape[1]
    shifts = [line[:, back : back + time] for back in range(layer.size)]
    return torch.cat(shifts, dim=-1), type(state)(line[:, time:])
