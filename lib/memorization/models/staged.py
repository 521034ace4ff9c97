"""A network in two parts, encoder and projector, each a chain of named stages.

Anagnostidis et al. (ICLR 2023): ``f = g o h`` with an encoder ``h``, whose output is the *embedding*, and a
projector ``g`` on top. Each named stage is a place to probe; how it is probed is not decided here.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from memorization.data.words import did_you_mean


class StagedNetwork(nn.Module):
    """An encoder and a projector whose stages have names.

    The names are those of the submodules: stage ``conv1`` of the encoder is the submodule ``encoder.conv1``.

    Args:
        encoder: named stages in order of depth; the last one is ``embedding`` and gives (B, embedding_size).
        projector: named parts in order of depth; the last one is ``logits`` and gives (B, C).
        embedding_size: length of an embedding, >= 1.
        leave_out: stages that are no probe site unless asked for by name, such as a block whose pooled
            output is the embedding.

    Raises:
        ValueError: if a part is misnamed, or a name is used twice or unknown.
    """

    def __init__(
        self,
        encoder: nn.Sequential,
        projector: nn.Sequential,
        *,
        embedding_size: int,
        leave_out: Iterable[str] = (),
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.projector = projector
        self.embedding_size = embedding_size
        self._stages = _stages(encoder, projector)
        self._left_out = frozenset(leave_out)
        if unknown := sorted(self._left_out - set(self._stages)):
            raise ValueError(f"leave_out names {unknown}; the stages are {', '.join(self._stages)}")

    @property
    def sites(self) -> dict[str, str]:
        """The default probe sites: site name to name of the submodule, in order of depth."""
        return {site: name for site, name in self._stages.items() if site not in self._left_out}

    def choose_sites(self, names: Iterable[str]) -> dict[str, str]:
        """Return some stages as probe sites, those left out by default included.

        Args:
            names: names of stages, in the order that is wanted.

        Returns:
            Site name to name of the submodule.

        Raises:
            KeyError: if there is no such stage, with those there are.
        """
        wanted = list(names)
        for name in wanted:
            if name not in self._stages:
                raise KeyError(
                    f"no site {name!r}{did_you_mean(name, self._stages)}; "
                    f"this network has {', '.join(self._stages)}"
                )
        return {name: self._stages[name] for name in wanted}

    def embed(self, x: Tensor) -> Tensor:
        """Return the embeddings h(x), shape (B, embedding_size)."""
        return self.encoder(x)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits g(h(x)), shape (B, C)."""
        return self.projector(self.encoder(x))


def _stages(encoder: nn.Sequential, projector: nn.Sequential) -> dict[str, str]:
    stages: dict[str, str] = {}
    for part, chain, last in (("encoder", encoder, "embedding"), ("projector", projector, "logits")):
        names = [name for name, _ in chain.named_children()]
        if not names or names[-1] != last:
            raise ValueError(f"the last stage of the {part} must be named {last!r}; its stages are {names}")
        if twice := sorted(set(names) & set(stages)):
            raise ValueError(f"stage names {twice} are in both parts; give each stage a name of its own")
        stages |= {name: f"{part}.{name}" for name in names}
    return stages
