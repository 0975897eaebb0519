"""Tasks: from batches to a loss, to metrics, to predictions."""

from throughtime.tasks.likelihood import evaluate, loss

__all__ = ["evaluate", "loss"]
