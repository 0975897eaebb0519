"""Models of transformers with random weights, none of which is one or zero by chance."""

import logging

import torch

logging.getLogger("transformers").setLevel(logging.ERROR)
logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


def perturbed(kind, config, seed=0):
    """A model in evaluation mode; norms and shifts are drawn, too."""
    torch.manual_seed(seed)
    model = kind(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "embed_positions" not in name:
                weight.add_(0.2 * torch.randn_like(weight))
    return model


def saved(model, folder):
    model.save_pretrained(folder)
    return folder


def reread(kind, folder):
    """What transformers reads: nothing may be missing or left over."""
    model, report = kind.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), report
    return model.eval()


def same(found, expected, places=None):
    """Equal to 1e-5."""
    if places is not None:
        found, expected = found[places], expected[places]
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def right_padding(*lengths):
    return torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)
