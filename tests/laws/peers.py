"""The same layers by other means, on the layer's own weights, so that gradients can be compared."""

from typing import Any

import torch

from throughtime.layers import (
    GRU,
    LSTM,
    RNN,
    GRUState,
    LSTMState,
    RNNState,
    SelfAttentionState,
)

functional: Any = torch.nn.functional


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


def attention_step_by_step(layer, x, state):
    """One query at a time over lists that grow; rotations as products of complex numbers."""
    rows = []
    for row in range(x.shape[0]):
        old = int(state.real[row].sum())
        keys = [state.keys[row, :, -back] for back in range(old, 0, -1)]
        values = [state.values[row, :, -back] for back in range(old, 0, -1)]
        outputs = []
        for t in range(x.shape[1]):
            at = int(state.seen[row]) + t
            q, k, v = _project(layer, _placed(layer, x[row, t], at))
            if layer.position == "rotary":
                q, k = _turned(q, at), _turned(k, at)
            keys, values = [*keys, k][-layer.horizon - 1 :], [*values, v][-layer.horizon - 1 :]
            heads = []
            for head in range(layer.heads):
                shared = head * layer.kv_heads // layer.heads
                scores = torch.stack([q[head] @ key[shared] for key in keys])
                scores = scores / layer.head_size**0.5
                if layer.position == "alibi":
                    ago = torch.arange(len(keys) - 1, -1, -1)
                    scores = scores - ago * 2.0 ** (-8 * (head + 1) / layer.heads)
                shares = scores.exp() / scores.exp().sum()
                heads.append(
                    sum(s * value[shared] for s, value in zip(shares, values, strict=True))
                )
            y = layer.weight_output @ torch.cat(heads)
            outputs.append(y if layer.bias_output is None else y + layer.bias_output)
        rows.append((torch.stack(outputs), keys[-layer.horizon :], values[-layer.horizon :]))
    missing = [layer.horizon - len(keys) for _, keys, _ in rows]

    def joined(which):
        parts = []
        for row, less in zip(rows, missing, strict=True):
            there = torch.stack(row[which], dim=1)
            # Places without a step move along, and what is in them with it.
            places = slice(x.shape[1], x.shape[1] + less)
            last = (state.keys, state.values)[which - 1][len(parts), :, places]
            parts.append(torch.cat([last, there], dim=1))
        return torch.stack(parts)

    count = state.seen + x.shape[1]
    real = torch.arange(layer.horizon) >= torch.tensor(missing)[:, None]
    output = torch.stack([output for output, _, _ in rows])
    return output, SelfAttentionState(joined(1), joined(2), real, count)


def _project(layer, x):
    y = layer.weight_input @ x
    y = y if layer.bias_input is None else y + layer.bias_input
    return [part.view(-1, layer.head_size) for part in y.split(layer.blocks)]


def _placed(layer, x, at):
    if layer.position == "learned":
        return x + layer.encoding.weight[at % layer.encoding.length]
    if layer.position == "sinusoidal":
        turns = [at / 10000 ** (2 * (i // 2) / len(x)) for i in range(len(x))]
        angles = torch.tensor(turns, dtype=x.dtype)
        return x + torch.where(torch.arange(len(x)) % 2 == 0, angles.sin(), angles.cos())
    return x


def _turned(x, at):
    half = x.shape[-1] // 2
    speeds = 10000.0 ** (-torch.arange(half, dtype=x.dtype) / half)
    turned = torch.complex(x[:, :half], x[:, half:]) * torch.exp(1j * at * speeds)
    return torch.cat([turned.real, turned.imag], dim=-1)


def torch_multihead(layer, x, state):
    output, _ = functional.multi_head_attention_forward(
        *[x.transpose(0, 1)] * 3, layer.input_size, layer.heads, layer.weight_input,
        layer.bias_input, None, None, False, 0.0, layer.weight_output, layer.bias_output,
    )  # fmt: skip
    return output.transpose(0, 1), ()


def torch_cross(layer, x, state):
    q = functional.linear(x, layer.weight_query, layer.bias_query)
    eye = torch.eye(layer.input_size, dtype=x.dtype)
    zeros = torch.zeros(3 * layer.input_size, dtype=x.dtype)
    output, _ = functional.multi_head_attention_forward(
        *[q.transpose(0, 1)] * 3, layer.input_size, layer.heads, None, zeros, None, None, False,
        0.0, layer.weight_output, layer.bias_output, key_padding_mask=~state.real,
        use_separate_proj_weight=True, q_proj_weight=eye, k_proj_weight=eye, v_proj_weight=eye,
        static_k=state.keys.flatten(0, 1), static_v=state.values.flatten(0, 1),
    )  # fmt: skip
    return output.transpose(0, 1), state


def additive_attention(layer, x, state):
    """Bahdanau's score, one pair of steps after another."""

    def score(h, key):
        return layer.weight_score @ torch.tanh(layer.weight_query @ h + key)

    return _annotated(layer, x, state, score)


def multiplicative_attention(layer, x, state):
    return _annotated(layer, x, state, lambda h, key: h @ key)


def _annotated(layer, x, state, score):
    rows = []
    for steps, keys, values, real in zip(x, *state, strict=True):
        there = real.nonzero().squeeze(1).tolist()
        row = []
        for h in steps:
            scores = torch.stack([score(h, keys[s]) for s in there])
            found = scores.softmax(0) @ values[there]
            row.append(torch.tanh(layer.weight_output @ torch.cat([found, h]) + layer.bias))
        rows.append(torch.stack(row))
    return torch.stack(rows), state


def torch_encoder_layer(layer, x, state):
    theirs = torch.nn.TransformerEncoderLayer(
        layer.input_size, layer.attention.heads, layer.feed_forward.hidden_size, 0.0,
        layer.feed_forward.activation, batch_first=True, norm_first=layer.norm_first,
        dtype=x.dtype,
    )  # fmt: skip
    parts = {
        "self_attn.in_proj_": layer.attention.weight_input,
        "self_attn.out_proj.": layer.attention.weight_output,
        "linear1.": layer.feed_forward.weight_input,
        "linear2.": layer.feed_forward.weight_output,
        "norm1.": layer.attention_norm.weight,
        "norm2.": layer.feed_forward_norm.weight,
    }
    shifts = {
        "self_attn.in_proj_": layer.attention.bias_input,
        "self_attn.out_proj.": layer.attention.bias_output,
        "linear1.": layer.feed_forward.bias_input,
        "linear2.": layer.feed_forward.bias_output,
        "norm1.": layer.attention_norm.bias,
        "norm2.": layer.feed_forward_norm.bias,
    }
    weights = {name + "weight": weight for name, weight in parts.items()}
    weights |= {name + "bias": bias for name, bias in shifts.items()}
    return torch.func.functional_call(theirs, weights, (x,)), ()
