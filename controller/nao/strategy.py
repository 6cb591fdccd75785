"""The search by NAO: score a pool, fit a network to it, replace the worst by what decodes from better latents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, cycle, islice
from typing import Any

import torch

from controller import sampling
from controller.nao.learning import (
    PUBLISHED,
    Settings,
    fit,
    pairwise_accuracy,
    predictions,
    reconstruction_error,
    scaled,
)
from controller.nao.network import EncoderPredictorDecoder, moved
from controller.nao.pool import DECODED, FRESH, SEED, Member, Pool
from controller.nao.tokens import Tokens
from controller.positions import Positions
from controller.sampling import Fits, draw_fitting

AT_ONCE = 8  # fresh genotypes that are drawn at a time
TOP = 10  # winners whose origin is reported


class Nao:
    """A :class:`controller.strategies.Strategy` with a pool (docs/strategies.md, section 19.3).

    The pool is drawn when it is first needed, and a round ends, which takes its time, in the first :meth:`ask` after
    all of the pool was scored. Weights of the network start from torch's global random numbers.
    """

    def __init__(self, positions: Positions, settings: Settings = PUBLISHED) -> None:
        self.positions, self.settings, self.tokens = positions, settings, Tokens(positions)
        self.network = EncoderPredictorDecoder(self.tokens.vocabulary, at_once=self.tokens.at_once).eval()
        self.pool = Pool(positions)
        self.counts = {"rounds": 0, DECODED: 0, FRESH: 0}
        self.quality: dict[str, float | None] = {"pairwise_accuracy": None, "reconstruction_error": None}
        self._asked: list[Member] = []
        self._news: dict[str, float] = {}  # of a round, for the next tell()

    def ask(self, n: int, generator: torch.Generator, fits: Fits | None = None) -> tuple[Any, ...]:
        """The next ``n`` of the pool; the last of a round come with the first ones again, where they are too few."""
        self._begin(generator, fits)
        waiting = self.pool.waiting()
        if not waiting:
            self._end_round(generator, fits)
            waiting = self.pool.waiting()
        self._asked = list(islice(chain(waiting, cycle(self.pool.members)), n))
        return tuple(member.genotype for member in self._asked)

    def sample(self, n: int, generator: torch.Generator, fits: Fits | None = None) -> tuple[Any, ...]:
        """Uniform draws from the pool, with replacement."""
        self._begin(generator, fits)

        def draw(count: int) -> list[Any]:
            drawn = torch.randint(len(self.pool), (count,), generator=generator).tolist()
            return [self.pool.members[i].genotype for i in drawn]

        return draw_fitting(draw, n, fits)

    def finalists(self, n: int, generator: torch.Generator, fits: Fits | None = None) -> tuple[Any, ...]:
        """The ``n`` best of the pool by their last scores, or all of it if there are fewer."""
        self._begin(generator, fits)
        return tuple(member.genotype for member in self.pool.ranked()[:n])

    def tell(self, scores: Sequence[float]) -> dict[str, float]:
        """Note the scores of the members that were asked for; returns also what a round gave that ended with that."""
        if len(scores) != len(self._asked) or not self._asked:
            raise ValueError("tell() takes one score for each genotype of the last ask()")
        for member, score in zip(self._asked, scores, strict=True):
            member.score, member.scored = float(score), True
        news, self._asked, self._news = self._news, [], {}
        best = self.pool.ranked()[0].score
        return {"reward": sum(scores) / len(scores), "best": best, "nao_rounds": float(self.counts["rounds"]), **news}

    def argmax(self) -> Any | None:
        """The best of the pool by its last score."""
        return self.pool.ranked()[0].genotype if self.has_moved() else None

    def has_moved(self) -> bool:
        """Whether any score was told."""
        return any(member.score is not None for member in self.pool.members)

    def report(self, best: Sequence[Any]) -> dict[str, Any]:
        """What the search found, by origin of the winners, best first, and how good its network was.

        The accuracy is on what was scored after the last fit; where that is too little, as measured a round before.
        """
        origins = self.pool.origins()
        top = [origins.get(self.positions.canonical(genotype)) for genotype in best[:TOP]]
        accuracy = self._accuracy()
        return {
            "top": len(top),
            **{f"top_from_{origin}": top.count(origin) for origin in (SEED, DECODED, FRESH)},
            **self.quality,
            **({} if accuracy is None else {"pairwise_accuracy": accuracy}),
            **self.counts,
        }

    def _begin(self, generator: torch.Generator, fits: Fits | None) -> None:
        if not self.pool.members:
            self._draw(self.settings.pool, SEED, generator, fits)

    def _draw(self, n: int, origin: str, generator: torch.Generator, fits: Fits | None) -> None:
        """Take ``n`` uniform genotypes into the pool; known ones only where hardly any others are left."""
        repeats, missing = 0, n
        while missing:
            drawn = draw_fitting(self._uniform(generator), min(missing, AT_ONCE), fits)
            for genotype in drawn:
                known = self.pool.knows(genotype)
                repeats += known
                if not known or repeats > sampling.MAX_DRAWS:
                    self.pool.add([genotype], origin)
                    missing -= 1

    def _uniform(self, generator: torch.Generator) -> Callable[[int], tuple[Any, ...]]:
        return lambda count: self.positions.uniform(count, generator)

    def _accuracy(self) -> float | None:
        """That of the network on what it was not fitted to; None before it was fitted to anything."""
        held_out = self.pool.held_out()
        if not self.counts["rounds"] or not held_out:
            return None
        tokens = self.tokens.encode([member.genotype for member in held_out])
        return pairwise_accuracy(predictions(self.network, tokens), [member.score for member in held_out])

    def _end_round(self, generator: torch.Generator, fits: Fits | None) -> None:
        """All of the pool is scored: fit the network, and replace the worst."""
        settings, ranked, accuracy = self.settings, self.pool.ranked(), self._accuracy()
        tokens = self.tokens.encode([member.genotype for member in ranked])
        values = scaled([member.score for member in ranked])
        augment = self.tokens.swapped if self.positions.symmetric else None
        seed = int(torch.randint(2**62, (), generator=generator))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            loss = fit(self.network, tokens, values, settings, augment)
        for member in ranked:
            member.fitted = True
        self.pool.drop_worst(settings.replaced)
        decoded = self._improve(tokens[: settings.best], fits)
        self.pool.add(decoded, DECODED)
        fresh = settings.replaced - len(decoded)
        self._draw(fresh, FRESH, generator, fits)
        self.pool.begin_round(generator)
        self.counts["rounds"] += 1
        self.counts[DECODED] += len(decoded)
        self.counts[FRESH] += fresh
        self.quality["reconstruction_error"] = reconstruction_error(self.network, tokens, self.tokens)
        if accuracy is not None:
            self.quality["pairwise_accuracy"] = accuracy
        measured = {name: value for name, value in self.quality.items() if value is not None}
        news = {"loss": loss, DECODED: float(len(decoded)), FRESH: float(fresh), **measured}
        self._news = {f"nao_{name}": value for name, value in news.items()}

    def _improve(self, tokens: torch.Tensor, fits: Fits | None) -> list[Any]:
        """New genotypes that fit, decoded after ever longer latent steps from these tokens (n, L)."""
        improved: dict[Any, Any] = {}  # by the canonical form
        with torch.no_grad():
            outputs = self.network.encoder(tokens)
        direction = self.network.direction(outputs)
        for size in range(1, self.settings.longest + 1):
            decoded, _ = self.network.decoder.greedy(moved(outputs, direction, size), self.tokens)
            for genotype in self.tokens.decode(decoded):
                form = self.positions.canonical(genotype)
                if form not in improved and not self.pool.knows(form) and (fits is None or fits(genotype)):
                    improved[form] = genotype
                if len(improved) == self.settings.replaced:
                    return list(improved.values())
        return list(improved.values())

    def state_dict(self) -> dict[str, Any]:
        """The pool, the network, and what was counted and measured."""
        network = {name: value.clone() for name, value in self.network.state_dict().items()}
        return {
            "pool": self.pool.state_dict(),
            "network": network,
            "counts": dict(self.counts),
            "quality": dict(self.quality),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly from there."""
        self.pool.load_state_dict(state["pool"])
        self.network.load_state_dict(state["network"])
        self.counts, self.quality = dict(state["counts"]), dict(state["quality"])
