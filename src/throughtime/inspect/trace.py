"""What was recorded of a model: values by name."""

from collections.abc import Iterable, Iterator, Mapping
from html import escape

import torch

from throughtime.errors import InputError
from throughtime.shapes import Tensor
from throughtime.taps import MAPS

__all__ = ["NotRecorded", "Trace"]


class NotRecorded(InputError, KeyError):
    """A name under which a trace holds nothing."""

    def __str__(self) -> str:
        return str(self.args[0])


class Trace(Mapping[str, Tensor]):
    """Values by name, in the order in which they were first computed.

    Args:
        asked: the names that were asked for.

    Examples:
        >>> trace = Trace(["cell", "hidden"])
        >>> trace.add("cell", torch.ones(1, 2, 3))
        >>> trace.add("cell", torch.zeros(1, 2, 3))
        >>> trace["cell"].sum(), len(trace.calls("cell")), trace.joined("cell").shape
        (tensor(0.), 2, torch.Size([1, 4, 3]))
        >>> trace["hidden"]
        Traceback (most recent call last):
        throughtime.inspect.trace.NotRecorded: trace: 'hidden' was not computed while recording
    """

    def __init__(self, asked: Iterable[str]) -> None:
        self._asked = frozenset(asked)
        self._calls: dict[str, list[Tensor]] = {}

    def add(self, name: str, value: Tensor) -> None:
        """What one more call of a layer computed."""
        self._calls.setdefault(name, []).append(value)

    def calls(self, name: str) -> list[Tensor]:
        """A tensor for each call of the layer, the first call first.

        Errors:
            NotRecorded: a name that was not asked for, or not computed.
        """
        if name in self._calls:
            return list(self._calls[name])
        if name in self._asked:
            raise NotRecorded(f"trace: {name!r} was not computed while recording")
        there = ", ".join(self._calls) or "nothing"
        raise NotRecorded(f"trace: {name!r} was not asked for; there is {there}")

    def joined(self, name: str) -> Tensor:
        """All calls one after the other along time: a stream that came in pieces.

        Errors:
            NotRecorded: as of `calls`.
            InputError: values that do not fit together: of other rows, without an axis of time, or
                maps of attention that look at different numbers of steps.
        """
        values = self.calls(name)
        shapes = {(*value.shape[:-2], *value.shape[-1:]) for value in values}
        if len(shapes) > 1 or values[0].ndim < 3:
            forms = ", ".join(str(list(value.shape)) for value in values[:3])
            why = "maps of different width" if _is_map(name) else "no time in common"
            raise InputError(f"trace: calls of {name!r} do not join, {why}: {forms}")
        return torch.cat(values, dim=-2)

    def __getitem__(self, name: str) -> Tensor:
        return self.calls(name)[-1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._calls)

    def __len__(self) -> int:
        return len(self._calls)

    def __repr__(self) -> str:
        width = max(map(len, self._calls), default=0)
        rows = [f"  {name:{width}}  {shape}{calls}" for name, shape, calls in self._rows()]
        count = len(self._calls)
        return "\n".join([f"Trace of {count} value{'' if count == 1 else 's'}", *rows])

    def _repr_html_(self) -> str:
        """A table, for notebooks."""
        rows = "".join(
            f"<tr><td style='text-align: left'>{escape(name)}</td>"
            f"<td style='text-align: left'>{shape}{calls}</td></tr>"
            for name, shape, calls in self._rows()
        )
        head = "".join(f"<th style='text-align: left'>{word}</th>" for word in ("value", "shape"))
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        """Name, shape and number of calls in words."""
        for name, values in self._calls.items():
            calls = f" in each of {len(values)} calls" if len(values) > 1 else ""
            if len({value.shape for value in values}) > 1:
                calls = f" in the last of {len(values)} calls"
            yield name, str(list(values[-1].shape)), calls


def _is_map(name: str) -> bool:
    return name.rpartition(".")[2] in MAPS
