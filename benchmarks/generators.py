"""One language model through several libraries, with the same weights: what `generation` times.

The model has the form of GPT-2: learned positions, norms first, shifts everywhere, exact GELU, a
head of its own. Each runner takes nothing and gives the tokens that it wrote, the likeliest ones.
"""

import importlib
import importlib.util
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import gelu, layer_norm, linear, scaled_dot_product_attention

from throughtime.decoding import Compiled, ModelStepper, Sampling, generate
from throughtime.layers import Decoder
from throughtime.models.autoregressive import Autoregressive
from throughtime.models.heads import Categorical
from throughtime.models.inputs import TokenInputs

CONTEXT = 256
PEERS = ("transformers", "ctranslate2")


def installed(name):
    return importlib.util.find_spec(name) is not None


def model_of(layers, width, heads, tokens) -> Any:
    """Positions so wide that it is not the same token that is the likeliest all the time."""
    model: Any = Autoregressive(
        TokenInputs(tokens, width),
        Decoder(width, heads, layers, position="learned", horizon=CONTEXT),
        Categorical(width, tokens),
    )
    for weight in model.parameters():
        if weight.ndim == 2:
            torch.nn.init.normal_(weight, std=0.06)
    for table in (model.inputs.embedding.weight, model.body.layers[0].weight):
        torch.nn.init.normal_(table)
    return model.eval()


def plain(model, steps):
    """Ours, layer by layer."""

    def run():
        step = ModelStepper(model, model.initial_state(1))
        last, written = model.begin(1)[:, 0], []
        for _ in range(steps):
            last = step(last).argmax(-1)
            written.append(int(last))
        return written

    return run


def compiled(model, steps, weights):
    """Ours, compiled; the whole loop in native code."""
    ready = Compiled(model, weights=weights)

    def run():
        step = ready(model, model.initial_state(1))
        return step.write(model.begin(1)[:, 0], steps).tokens[0].tolist()

    return run


def drawn(model, steps, weights):
    """Ours, by `generate`, with random tokens; the model is read and checked in every call."""
    ready = Compiled(model, weights=weights)
    nothing, chance = [torch.tensor([], dtype=torch.long)], Sampling(temperature=0.8, top_k=40)

    def run():
        found = generate(model, nothing, steps, sampling=chance, seed=0, stepper=ready)
        return found.tokens[0].tolist()

    return run


def by_hand(model, steps):
    """As in nanoGPT, with a cache of keys and values that is allocated once."""
    table, head = model.inputs.embedding.weight, model.head.output
    position, *blocks, last_norm = model.body.layers
    heads = blocks[0].attention.heads
    width = table.shape[1]

    def norm(x, of):
        return layer_norm(x, (width,), of.weight, of.bias, of.epsilon)

    def block(x, b, cache, t):
        a, f = b.attention, b.feed_forward
        q, k, v = linear(norm(x, b.attention_norm), a.weight_input, a.bias_input).split(width, -1)
        q, k, v = (part.view(1, 1, heads, -1).transpose(1, 2) for part in (q, k, v))
        cache[0][:, :, t : t + 1], cache[1][:, :, t : t + 1] = k, v
        found = scaled_dot_product_attention(q, cache[0][:, :, : t + 1], cache[1][:, :, : t + 1])
        x = x + linear(found.transpose(1, 2).reshape(1, 1, width), a.weight_output, a.bias_output)
        inner = gelu(linear(norm(x, b.feed_forward_norm), f.weight_input, f.bias_input))
        return x + linear(inner, f.weight_output, f.bias_output)

    @torch.inference_mode()
    def run():
        caches = torch.zeros(len(blocks), 2, 1, heads, steps, width // heads)
        last, written = len(table) - 1, []
        for t in range(steps):
            x = (table[last] + position.weight[t]).view(1, 1, width)
            for b, cache in zip(blocks, caches, strict=True):
                x = block(x, b, cache, t)
            last = int(linear(norm(x, last_norm), head.weight, head.bias).argmax())
            written.append(last)
        return written

    return run


def hugging_face(model, steps):
    """GPT2LMHeadModel and its `generate`."""
    transformers = importlib.import_module("transformers")
    table, head = model.inputs.embedding.weight, model.head.output
    position, *blocks, last_norm = model.body.layers
    heads, width = blocks[0].attention.heads, table.shape[1]
    peer = transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=len(table), n_positions=position.length, n_embd=width, n_layer=len(blocks),
        n_head=heads, activation_function="gelu", tie_word_embeddings=False,
        bos_token_id=None, eos_token_id=None,
    )).eval()  # fmt: skip
    # Its head has no shift, and one row more, for the beginning. Tokens may differ for that.
    rows = torch.cat([head.weight, torch.zeros(1, width)])
    pairs = [(peer.transformer.wte.weight, table), (peer.transformer.wpe.weight, position.weight),
             (peer.lm_head.weight, rows)]  # fmt: skip
    norms = [(peer.transformer.ln_f, last_norm)]
    for theirs, ours in zip(peer.transformer.h, blocks, strict=True):
        a, f = ours.attention, ours.feed_forward
        norms += [(theirs.ln_1, ours.attention_norm), (theirs.ln_2, ours.feed_forward_norm)]
        for to, weight, bias in (
            (theirs.attn.c_attn, a.weight_input, a.bias_input),
            (theirs.attn.c_proj, a.weight_output, a.bias_output),
            (theirs.mlp.c_fc, f.weight_input, f.bias_input),
            (theirs.mlp.c_proj, f.weight_output, f.bias_output),
        ):
            pairs += [(to.weight, weight.T), (to.bias, bias)]
    pairs += [(getattr(t, n), getattr(o, n)) for t, o in norms for n in ("weight", "bias")]
    with torch.no_grad():
        for to, value in pairs:
            to.copy_(value)
    begin = model.begin(1)

    @torch.inference_mode()
    def run():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = peer.generate(
                begin, attention_mask=torch.ones_like(begin), max_new_tokens=steps,
                do_sample=False, pad_token_id=0,
            )  # fmt: skip
        return found[0, 1:].tolist()

    return run


def ctranslate2(model, steps, weights, threads):
    """CTranslate2 with a converted model, of float32 or int8 weights."""
    ct2 = importlib.import_module("ctranslate2")
    table, head = model.inputs.embedding.weight, model.head.output
    position, *blocks, last_norm = model.body.layers
    spec = ct2.specs.TransformerDecoderModelSpec.from_config(
        len(blocks), blocks[0].attention.heads, activation=ct2.specs.Activation.GELU
    )

    def copied(tensor):  # rounding to bytes writes into what it is given
        return tensor.detach().numpy().copy()

    def put(to, weight, bias):
        to.weight, to.bias = copied(weight), copied(bias)

    def norm(to, of):
        to.gamma, to.beta = copied(of.weight), copied(of.bias)

    one = torch.zeros(1)
    decoder = spec.decoder
    decoder.scale_embeddings = False
    decoder.embeddings.weight = copied(table)
    decoder.position_encodings.encodings = copied(position.weight)
    # A row for the beginning, which must never win.
    put(decoder.projection, torch.cat([head.weight, table[-1:] * 0]),
        torch.cat([head.bias, one - 1e9]))  # fmt: skip
    norm(decoder.layer_norm, last_norm)
    for to, ours in zip(decoder.layer, blocks, strict=True):
        a, f = ours.attention, ours.feed_forward
        put(to.self_attention.linear[0], a.weight_input, a.bias_input)
        put(to.self_attention.linear[1], a.weight_output, a.bias_output)
        norm(to.self_attention.layer_norm, ours.attention_norm)
        put(to.ffn.linear_0, f.weight_input, f.bias_input)
        put(to.ffn.linear_1, f.weight_output, f.bias_output)
        norm(to.ffn.layer_norm, ours.feed_forward_norm)
    begin = "<begin>"
    spec.register_vocabulary([*map(str, range(len(table) - 1)), begin])
    spec.config.bos_token = spec.config.eos_token = spec.config.unk_token = begin
    with tempfile.TemporaryDirectory() as folder:
        spec.validate()
        spec.optimize(quantization=weights)
        spec.save(folder)
        peer = ct2.Generator(str(Path(folder)), compute_type=weights, intra_threads=threads)

    def run():
        found = peer.generate_batch(
            [[begin]], max_length=steps, end_token=begin, include_prompt_in_result=False
        )
        return found[0].sequences_ids[0]

    return run
