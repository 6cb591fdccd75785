"""Scores that are known are not found again, and outlive an interruption."""

import torch

from controller.sampling import uniform
from controller.score_cache import ScoreCache

POOL = uniform(4, 2, "stage", torch.Generator().manual_seed(0))


def test_only_what_has_no_score_is_missing_and_once_each():
    known = ScoreCache()
    assert known.missing([POOL[1], POOL[0], POOL[1]]) == [POOL[1], POOL[0]]
    known.scores[POOL[0]] = 3.0
    assert known.missing([POOL[1], POOL[0], POOL[2], POOL[1]]) == [POOL[1], POOL[2]]
    assert len(known) == 1
    known.forget()
    assert known.missing(POOL) == list(POOL)


def test_scores_come_back_from_plain_values_and_old_files_hold_none():
    known, again = ScoreCache(), ScoreCache()
    known.scores |= {genotype: 0.1 * i for i, genotype in enumerate(POOL)}
    again.load_state_dict(known.state_dict())
    assert again.scores == known.scores
    again.load_state_dict({})
    assert not again.scores
