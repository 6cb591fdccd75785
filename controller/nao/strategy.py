"""The search by NAO: score a pool, fit a network to it, replace the worst by what decodes from better latents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
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
from controller.nao.network import EncoderPredictorDecoder, Tokens, moved
from controller.positions import Positions
from controller.sampling import Fits, draw_fitting
from controller.statistics import Seen

AT_ONCE = 8  # fresh genotypes that are drawn at a time
TOP = 10  # winners whose origin is reported
SEED, DECODED, FRESH = "seed", "decoded", "fresh"  # of the first pool; by a latent step; where these were too few


@dataclass
class Member:
    """A genotype of the pool. ``scored``: in this round; ``fitted``: the network has seen its score."""

    genotype: Any
    origin: str
    score: float | None = None
    scored: bool = False
    fitted: bool = False


class Pool:
    """Different genotypes with their last scores, in the order in which they are scored."""

    def __init__(self, positions: Positions) -> None:
        self.positions = positions
        self.members: list[Member] = []
        self.seen = Seen()  # whatever was in the pool once, swapped edges aside

    def knows(self, genotype: Any) -> bool:
        """Whether this network is, or was, in the pool."""
        return self.positions.canonical(genotype) in self.seen

    def add(self, genotypes: Sequence[Any], origin: str) -> None:
        """Take these in, without a score."""
        self.members += [Member(genotype, origin) for genotype in genotypes]
        self.seen.add(map(self.positions.canonical, genotypes))

    def waiting(self) -> list[Member]:
        """Those without a score of this round."""
        return [member for member in self.members if not member.scored]

    def ranked(self) -> list[Member]:
        """All by their last score, best first, the ones without a score last."""
        return sorted(self.members, key=lambda member: math.inf if member.score is None else -member.score)

    def begin_round(self, generator: torch.Generator) -> None:
        """All are to be scored again, in a random order: weights that change meanwhile favour none of them."""
        self.members = [self.members[i] for i in torch.randperm(len(self.members), generator=generator).tolist()]
        for member in self.members:
            member.scored = False

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        members = [[self.positions.plain(m.genotype), m.origin, m.score, m.scored, m.fitted] for m in self.members]
        return {"members": members, "seen": self.seen.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly from there."""
        self.members = [Member(self.positions.read(plain), *facts) for plain, *facts in state["members"]]
        self.seen.load_state_dict(state["seen"])


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
        if not self.pool.waiting():
            self._end_round(generator, fits)
        self._asked = list(islice(chain(self.pool.waiting(), cycle(self.pool.members)), n))
        return tuple(member.genotype for member in self._asked)

    def sample(self, n: int, generator: torch.Generator, fits: Fits | None = None) -> tuple[Any, ...]:
        """Uniform draws from the pool, with replacement."""
        self._begin(generator, fits)

        def draw(count: int) -> list[Any]:
            drawn = torch.randint(len(self.pool.members), (count,), generator=generator).tolist()
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
        form = self.positions.canonical  # networks, not genotypes
        origins = {form(member.genotype): member.origin for member in self.pool.members}
        top = [origins.get(form(genotype)) for genotype in best[:TOP]]
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
            drawn = draw_fitting(lambda n: self.positions.uniform(n, generator), min(missing, AT_ONCE), fits)
            for genotype in drawn:
                known = self.pool.knows(genotype)
                repeats += known
                if not known or repeats > sampling.MAX_DRAWS:
                    self.pool.add([genotype], origin)
                    missing -= 1

    def _accuracy(self) -> float | None:
        """That of the network on what it was not fitted to; None before it was fitted to anything."""
        held_out = [member for member in self.pool.members if member.score is not None and not member.fitted]
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
        self.pool.members = ranked[: len(ranked) - settings.replaced]
        decoded = self._improve(tokens[: settings.best], fits)
        self.pool.add(decoded, DECODED)
        fresh = settings.replaced - len(decoded)
        self._draw(fresh, FRESH, generator, fits)
        self.pool.begin_round(generator)
        for name, more in (("rounds", 1), (DECODED, len(decoded)), (FRESH, fresh)):
            self.counts[name] += more
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
            "counts": {**self.counts},
            "quality": {**self.quality},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly from there."""
        self.pool.load_state_dict(state["pool"])
        self.network.load_state_dict(state["network"])
        self.counts, self.quality = dict(state["counts"]), dict(state["quality"])
