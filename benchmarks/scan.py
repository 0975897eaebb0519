"""The same layers as `lax.scan` of JAX, on our weights: input projections, then the loop."""

import importlib

import numpy as np

from throughtime.commands.peers import installed

NAME = "JAX lax.scan"


def version():
    return importlib.import_module("jax").__version__ if installed("jax") else "not installed"


def runs(kind, ours, x):
    """Training step and forward pass, compiled, if JAX is installed; float32 only."""
    if not installed("jax"):
        return None
    jax = importlib.import_module("jax")
    names = ("weight_input", "weight_hidden", "bias", "bias_hidden")
    found = {name: getattr(ours, name, None) for name in names}
    weights = {
        name: jax.numpy.asarray(tensor.detach().numpy())
        for name, tensor in found.items()
        if tensor is not None
    }
    given = jax.numpy.asarray(x.detach().numpy())

    def total(weights, x):
        return layer(jax, kind, weights, x).sum()

    inference = jax.jit(lambda weights, x: layer(jax, kind, weights, x))
    training = jax.jit(jax.value_and_grad(total))
    np.testing.assert_allclose(
        np.asarray(inference(weights, given)), ours(x)[0].detach().numpy(), atol=1e-4
    )
    return {
        "training": lambda: jax.block_until_ready(training(weights, given)),
        "inference": lambda: jax.block_until_ready(inference(weights, given)),
    }


def layer(jax, kind, weights, x):
    """Outputs of every step, `[batch, time, hidden]`."""
    jnp, sigmoid = jax.numpy, jax.nn.sigmoid
    recurrent = weights["weight_hidden"].T
    zeros = jnp.zeros((x.shape[0], recurrent.shape[0]))

    def rnn(h, projected):
        h = jnp.tanh(projected + h @ recurrent)
        return h, h

    def lstm(state, projected):
        h, c = state
        i, f, g, o = jnp.split(projected + h @ recurrent, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * jnp.tanh(g)
        h = sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    def gru(h, projected):
        r, z, n = jnp.split(projected, 3, axis=-1)
        from_r, from_z, from_n = jnp.split(h @ recurrent, 3, axis=-1)
        r, z = sigmoid(r + from_r), sigmoid(z + from_z)
        n = jnp.tanh(n + r * (from_n + weights["bias_hidden"]))
        h = (1 - z) * n + z * h
        return h, h

    step, state = {"rnn": (rnn, zeros), "lstm": (lstm, (zeros, zeros)), "gru": (gru, zeros)}[kind]
    projected = x @ weights["weight_input"].T + weights["bias"]
    _, outputs = jax.lax.scan(step, state, projected.swapaxes(0, 1))
    return outputs.swapaxes(0, 1)
