"""From the tensors of a file to the parameters of a model and back, one list for both ways."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from throughtime.errors import InputError
from throughtime.layers import CrossAttention, FeedForward, Linear, Norm, SelfAttention
from throughtime.shapes import Int, Tensor


class Tensors:
    """The tensors of a file, each to be taken; what nobody takes is refused in the end.

    Args:
        tensors: by name.
        kind: what errors begin with, such as `load_gpt2`.
        prefix: that names may begin with, and are known without.
        without: beginnings of names that are to be left out.

    Errors:
        InputError: two tensors of one name, or nothing to be left out.
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        kind: str,
        *,
        prefix: str,
        without: Collection[str] = (),
    ) -> None:
        self.kind = kind
        self._tensors: dict[str, Tensor] = {}
        self._given: dict[str, str] = {}
        self._taken: set[str] = set()
        if isinstance(without, str):  # else each of its letters would be a beginning
            raise InputError(f"{kind}: without is {without!r}, expected a list of beginnings")
        for beginning in without:
            if not any(name.startswith(beginning) for name in tensors):
                raise InputError(
                    f"{kind}: without holds {beginning!r}, expected a beginning of a tensor's name"
                )
        for given, tensor in tensors.items():
            if given.startswith(tuple(without)):
                continue
            name = _modern(given.removeprefix(prefix))
            if name in self._given:
                raise InputError(f"{kind}: {given} and {self._given[name]} are the same tensor")
            self._tensors[name], self._given[name] = tensor, given

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def take(self, name: str, shape: Sequence[int]) -> Tensor:
        """A tensor of a certain shape.

        Errors:
            InputError: there is none, or it has another shape.
        """
        if name not in self._tensors:
            raise InputError(f"{self.kind}: tensor {name} is missing")
        self._taken.add(name)
        tensor = self._tensors[name]
        if list(tensor.shape) != list(shape) or not tensor.is_floating_point():
            raise InputError(
                f"{self.kind}: tensor {name} is {tensor.dtype} of shape {list(tensor.shape)}, "
                f"expected numbers of shape {list(shape)}"
            )
        return tensor

    def same(self, name: str, expected: Tensor, tolerance: float = 0.0) -> None:
        """A tensor that need not be there, but if it is, must be this one.

        Errors:
            InputError: it is another one.
        """
        if name not in self._tensors:
            return
        self._taken.add(name)
        tensor = self._tensors[name]
        alike = tensor.shape == expected.shape and torch.allclose(
            tensor.double(), expected.double(), rtol=0, atol=tolerance
        )
        if not alike:
            raise InputError(
                f"{self.kind}: tensor {name} is not what the others and the config make of it"
            )

    def finish(self) -> None:
        """Refuse tensors that nobody took.

        Errors:
            InputError: it names the first of them.
        """
        left = sorted(self._given[name] for name in self._tensors if name not in self._taken)
        if left:
            more = f" and {len(left) - 8} more" if len(left) > 8 else ""
            raise InputError(
                f"{self.kind}: tensors that this model has no place for: {', '.join(left[:8])}"
                f"{more}; `without` leaves tensors out"
            )


def _modern(name: str) -> str:
    """Norms had other names once."""
    stem, _, last = name.rpartition(".")
    return f"{stem}.{ {'gamma': 'weight', 'beta': 'bias'}.get(last, last) }" if stem else name


@dataclass(frozen=True)
class Link:
    """A parameter of ours and the tensors of a file that it is made of.

    Args:
        ours: the parameter.
        theirs: names of tensors that lie one below the other in it.
        transposed: whether theirs is turned over, as in GPT-2.
        rows, columns: where feature i of ours stands in theirs; None: in the same place.
        shape: of theirs, where it has more axes than ours.
    """

    ours: Tensor
    theirs: tuple[str, ...]
    transposed: bool = False
    rows: Int[Tensor, " rows"] | None = None
    columns: Int[Tensor, " columns"] | None = None
    shape: tuple[int, ...] | None = None

    def read(self, tensors: Tensors) -> None:
        """Take what the parameter is made of."""
        part = list(self.ours.shape)
        part[0] //= len(self.theirs)
        if self.transposed:
            part = part[::-1]
        taken = [tensors.take(name, self.shape or part) for name in self.theirs]
        value = torch.cat([one.t() if self.transposed else one for one in taken])
        value = value.reshape(self.ours.shape)
        if self.rows is not None:
            value = value[self.rows]
        if self.columns is not None:
            value = value[:, self.columns]
        with torch.no_grad():
            self.ours.copy_(value)

    def write(self, tensors: dict[str, Tensor]) -> None:
        """Put the parameter where it is read from."""
        value = self.ours.detach()
        if self.rows is not None:
            value = value[self.rows.argsort()]
        if self.columns is not None:
            value = value[:, self.columns.argsort()]
        for name, one in zip(self.theirs, value.chunk(len(self.theirs)), strict=True):
            turned = one.t() if self.transposed else one
            tensors[name] = turned.reshape(self.shape) if self.shape else turned


def read_all(links: Iterable[Link], tensors: Tensors) -> None:
    """Every parameter from its tensors."""
    for link in links:
        link.read(tensors)


def write_all(links: Iterable[Link], prefix: str = "") -> dict[str, Tensor]:
    """The tensors of all parameters, by name."""
    tensors: dict[str, Tensor] = {}
    for link in links:
        link.write(tensors)
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


@dataclass(frozen=True)
class Stream:
    """How the features of a model's stream are numbered in a file.

    Args:
        order: where feature i of ours stands in theirs; None: in the same place.
        transposed: whether matrices are turned over.
    """

    order: Int[Tensor, " size"] | None = None
    transposed: bool = False

    def norm(self, layer: Norm, name: str) -> list[Link]:
        """A norm of the stream."""
        assert layer.bias is not None
        return [
            Link(layer.weight, (f"{name}.weight",), rows=self.order),
            Link(layer.bias, (f"{name}.bias",), rows=self.order),
        ]

    def matrix(
        self,
        weight: Tensor,
        bias: Tensor | None,
        *names: str,
        reads: bool = True,
        writes: bool = False,
    ) -> list[Link]:
        """A matrix and its shift; `reads` and `writes` say whether it does so from the stream."""
        rows, columns = (self.order if at else None for at in (writes, reads))
        links = [
            Link(
                weight, tuple(f"{name}.weight" for name in names),
                transposed=self.transposed, rows=rows, columns=columns,
            )
        ]  # fmt: skip
        if bias is not None:
            links.append(Link(bias, tuple(f"{name}.bias" for name in names), rows=rows))
        return links

    def attention(
        self, layer: SelfAttention, inputs: Sequence[str], output: str, *, shifted: bool = True
    ) -> list[Link]:
        """Queries, keys and values, and what mixes the heads.

        Args:
            layer: the layer.
            inputs: names of the matrices, those of queries first.
            output: name of the last matrix.
            shifted: whether the first matrices have shifts in the file.
        """
        bias = layer.bias_input if shifted else None
        return [
            *self.matrix(layer.weight_input, bias, *inputs),
            *self.matrix(
                layer.weight_output, layer.bias_output, output, reads=False, writes=True
            ),
        ]  # fmt: skip

    def cross_attention(self, layer: CrossAttention, name: str) -> list[Link]:
        """The same of what looks at a memory, whose features are numbered as the stream's."""
        query, key, value, output = (f"{name}.{part}_proj" for part in ("q", "k", "v", "out"))
        return [
            *self.matrix(layer.weight_query, layer.bias_query, query),
            *self.matrix(layer.weight_memory, layer.bias_memory, key, value),
            *self.matrix(
                layer.weight_output, layer.bias_output, output, reads=False, writes=True
            ),
        ]  # fmt: skip

    def feed_forward(self, layer: FeedForward, first: str, second: str) -> list[Link]:
        """Both matrices."""
        return [
            *self.matrix(layer.weight_input, layer.bias_input, first),
            *self.matrix(
                layer.weight_output, layer.bias_output, second, reads=False, writes=True
            ),
        ]  # fmt: skip


def linear(layer: Linear, name: str) -> list[Link]:
    """A matrix and a shift that are numbered alike."""
    return Stream().matrix(layer.weight, layer.bias, name)
