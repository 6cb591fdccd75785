"""Measures: equal to scikit-learn's or to a loop written from the definition, over any cut into batches."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from sklearn import metrics

from engine.tasks.classification import Classification
from engine.tasks.classification_measures import Answers, calibration_error, shift_consistency, summary
from engine.tasks.pictures import confusion_figure

pytestmark = pytest.mark.pictures


def answers(n: int, classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits that are right more often than not, in float32, and labels of all classes but the last."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes - 1, (n,), generator=generator)
    logits = 2 * torch.randn(n, classes, generator=generator)
    logits[torch.arange(n), labels] += 2
    return logits, labels


@pytest.mark.parametrize("classes", [3, 10, 100])
def test_equal_to_scikit_learn(classes):
    logits, labels = answers(500, classes)
    every, guesses = range(classes), logits.argmax(1)
    probabilities = logits.double().softmax(1)
    found = summary(Answers.of(logits, labels), [f"c{i}" for i in every])
    assert found["images"] == 500
    assert found["loss"] == pytest.approx(metrics.log_loss(labels, probabilities, labels=every))
    assert found["top1"] == pytest.approx(100 * metrics.accuracy_score(labels, guesses))
    assert found["confusion"] == metrics.confusion_matrix(labels, guesses, labels=every).tolist()
    recall = metrics.recall_score(labels, guesses, labels=every, average=None, zero_division=np.nan)
    wanted = {f"c{i}": None if np.isnan(r) else pytest.approx(100 * r) for i, r in enumerate(recall)}
    assert wanted[f"c{classes - 1}"] is None
    assert found["per_class"] == wanted
    if classes < 10:
        assert found["top5"] is None
    else:
        assert found["top5"] == pytest.approx(100 * metrics.top_k_accuracy_score(labels, logits, k=5, labels=every))


def calibration_error_by_definition(logits: np.ndarray, labels: np.ndarray, bins: int) -> float:
    e = np.exp(logits - logits.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    confidence, right, error = p.max(1), p.argmax(1) == labels, 0.0
    for m in range(1, bins + 1):
        inside = ((m - 1) / bins < confidence) & (confidence <= m / bins)
        if inside.any():
            error += inside.sum() / len(labels) * abs(right[inside].mean() - confidence[inside].mean())
    return 100 * error


def calibration(logits, labels, bins=15):
    found = Answers.of(logits, labels)
    return calibration_error(found.confidences, found.guesses == labels, bins)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 200), st.integers(2, 20), st.integers(0, 1000), st.sampled_from([1, 10, 15]))
def test_calibration_error_follows_its_definition(n, classes, seed, bins):
    logits, labels = answers(n, classes, seed)
    wanted = calibration_error_by_definition(logits.double().numpy(), labels.numpy(), bins)
    assert calibration(logits, labels, bins) == pytest.approx(wanted, abs=1e-9)


def test_calibration_error_of_known_cases():
    labels = torch.tensor([0, 1, 0, 1])
    sure = torch.tensor([[900.0, 0], [0, 900], [900, 0], [0, 900]])
    assert calibration(sure, labels) == 0
    assert calibration(-sure, labels) == pytest.approx(100)
    assert calibration(torch.zeros(4, 2), labels) == pytest.approx(0)  # half sure, half right
    third = torch.log(torch.tensor([[1 / 3, 2 / 3]], dtype=torch.float64))  # on the edge of two of 15 bins
    assert calibration(third.expand(3, 2), torch.tensor([1, 1, 0])) == pytest.approx(0)


def test_the_measures_of_very_many_classes_stay_small():
    labels, k = torch.arange(3000) * 7, 21_000
    guesses = torch.where(torch.arange(3000) < 1000, 3, labels)
    answers = Answers(labels, guesses, torch.ones(3000), torch.zeros(3000), guesses == labels)
    measured = summary(answers, [str(i) for i in range(k)])
    assert "confusion" not in measured
    assert Classification().picture_of_measures(measured, range(k)) is None
    assert len(json.dumps(measured)) < 2e6
    assert (measured["per_class"]["7"], measured["per_class"]["20993"], measured["per_class"]["1"]) == (0, 100, None)


def points(n: int, side: int = 9) -> torch.Tensor:
    images = torch.zeros(n, 3, side, side)
    images[:, :, side // 2, side // 2] = 1
    return images


@pytest.mark.parametrize("most", [1, 2])
def test_every_shift_is_drawn_and_the_two_of_an_image_differ(most):
    seen = []

    def where(images):
        seen.append(images[:, 1].flatten(1))
        return seen[-1]

    generator = torch.Generator().manual_seed(0)
    assert shift_consistency(where, [points(600)], most, generator=generator) == 0
    positions, counts = torch.cat(seen).argmax(1).unique(return_counts=True)
    span = range(4 - most, 5 + most)
    assert positions.tolist() == [9 * row + column for row in span for column in span]
    assert counts.min() > 0.5 * counts.max()
    assert all(part.sum() == len(part) for part in seen)


def test_what_sees_no_position_is_consistent_and_what_moves_in_is_zero():
    images = torch.rand(50, 3, 8, 8) + 1
    inside = torch.zeros_like(images)
    inside[..., 2:-2, 2:-2] = images[..., 2:-2, 2:-2]
    sums = []

    def mean(batch):
        sums.append(batch.sum(dim=(1, 2, 3)))
        return batch.mean(dim=(2, 3))

    assert shift_consistency(mean, [inside], 2, generator=torch.Generator()) == 100
    assert all(torch.allclose(part, inside.sum(dim=(1, 2, 3))) for part in sums)


def test_consistency_is_a_share_that_neither_chance_nor_batches_change():
    images, weights = torch.randn(101, 3, 8, 8), torch.randn(192, 5)

    def predict(batch):
        return batch.flatten(1) @ weights

    def measured(given):
        return shift_consistency(predict, given, 2, generator=torch.Generator().manual_seed(3))

    found = measured([images])
    assert 0 < found < 100
    assert found * 1.01 == pytest.approx(round(found * 1.01))
    assert found == measured(images.split(7)) == measured(images.split(40))


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_every_name_in_the_picture_is_free_and_on_the_page(classes):
    logits, labels = answers(2000, classes)
    measured = summary(Answers.of(logits, labels), range(classes))
    figure = Classification().picture_of_measures(measured, [f"class_{i} of a long, long name" for i in range(classes)])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer, page, axes = canvas.get_renderer(), figure.bbox.padded(0.5), figure.axes[0]
    for names, low, high in ((axes.get_xticklabels(), "x0", "x1"), (axes.get_yticklabels(), "y0", "y1")):
        boxes = sorted((name.get_window_extent(renderer) for name in names), key=lambda box: getattr(box, low))
        assert len(boxes) == classes
        assert all(page.x0 <= box.x0 <= box.x1 <= page.x1 and page.y0 <= box.y0 <= box.y1 <= page.y1 for box in boxes)
        assert all(getattr(a, high) <= getattr(b, low) + 1 for a, b in pairwise(boxes))
    written = [float(text.get_text()) for text in axes.texts]
    with_images = sum(map(any, measured["confusion"])) if classes <= 20 else 0
    assert sum(written) == pytest.approx(with_images, abs=0.005 * classes**2)


@pytest.mark.parametrize("name", ["cost_$5_$10", "a$$b", "$\\frac$", "caf\udce9", "two\nlines"])
def test_any_name_is_drawn_as_it_is_spelt(name):
    figure = confusion_figure([[1, 0], [0, 1]], [name, "other"])
    FigureCanvasAgg(figure).draw()
    drawn = figure.axes[0].get_yticklabels()[0].get_text()
    assert drawn == (name if name.isprintable() else ascii(name))
