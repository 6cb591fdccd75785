"""NAO's encoder, predictor and decoder against numbers of the published implementation, in float64."""

import json
from pathlib import Path

import pytest
import torch

from controller.nao.learning import joint_loss, reconstruction_error
from controller.nao.network import EncoderPredictorDecoder, Tokens, moved, summary
from controller.positions import CellPositions
from tests.golden_weights import draw

CASES = json.loads((Path(__file__).parents[1] / "golden" / "nao_epd.json").read_text())["cases"]
ALPHABET = Tokens(CellPositions(2, "type"))  # as the published space: five nodes and five operations


def network_of(case: dict) -> EncoderPredictorDecoder:
    """The network of a case, every parameter drawn from its name."""
    sizes = {name: case[name] for name in ("hidden", "mlp_layers", "mlp_hidden")}
    network = EncoderPredictorDecoder(case["vocabulary"], **sizes).double().eval()
    for name, parameter in network.named_parameters():
        scale = 1.0 if "embedding" in name else 0.1 if parameter.dim() == 1 else (2 / parameter.shape[1]) ** 0.5
        parameter.data = draw(name.removesuffix("_l0"), tuple(parameter.shape)) * scale
    return network


@pytest.fixture(params=CASES, ids=lambda case: case["name"])
def case(request):
    return request.param


@pytest.fixture
def network(case):
    return network_of(case)


@pytest.fixture
def tokens(case):
    return torch.tensor(case["sequences"])


def same(ours: torch.Tensor, theirs) -> None:
    expected = torch.tensor(theirs, dtype=torch.float64)
    assert ours.shape == expected.shape
    assert ((ours - expected).abs() <= 1e-8 * expected.abs().clamp(min=1)).all()


def test_the_alphabet_and_the_number_of_parameters_are_the_published_ones(case, network):
    assert (ALPHABET.vocabulary, ALPHABET.length) == (case["vocabulary"], case["source_length"])
    assert sum(p.numel() for p in network.parameters()) == case["parameters"]
    published = EncoderPredictorDecoder(ALPHABET.vocabulary)
    assert sum(p.numel() for p in published.parameters()) == 279_533


@torch.no_grad()
def test_encoder_and_predictor(case, network, tokens):
    outputs = network.encoder(tokens)
    assert outputs.shape[1] == case["encoder_length"]
    same(outputs.norm(), case["encoder_outputs_norm"])
    same(outputs.abs().sum(), case["encoder_outputs_abs_sum"])
    same(outputs[:, 0, :5], case["encoder_outputs_first_step"])
    same(outputs[:, -1, :5], case["encoder_outputs_last_step"])
    same(summary(outputs)[:, :5], case["embedding_first"])
    same(summary(outputs).sum(dim=1), case["embedding_sum"])
    same(network.encoder.value(outputs), case["predicted"])


@torch.no_grad()
def test_log_probabilities_under_teacher_forcing(case, network, tokens):
    predicted, log_probs = network(tokens)
    same(predicted, case["predicted"])
    same(log_probs[:, 0], case["log_probs_first_step"])
    same(log_probs[:, -1], case["log_probs_last_step"])
    same(-log_probs.gather(2, tokens[:, :, None]).sum(dim=(1, 2)), case["nll_per_sequence_sum"])
    legal = log_probs.masked_fill(~ALPHABET.legal, -torch.inf)
    assert legal.argmax(dim=2).tolist() == case["constrained_argmax_teacher_forced"]


def test_loss_and_gradients(case, network, tokens):
    values = torch.tensor(case["targets"], dtype=torch.float64)
    for trade_off, name in ((1.0, "mse"), (0.0, "nll"), (case["trade_off"], "loss")):
        loss = joint_loss(*network(tokens), tokens, values, trade_off)
        same(loss.detach(), case[name])
    loss.backward()
    gradients = {name.removesuffix("_l0"): p.grad for name, p in network.named_parameters()}
    assert gradients.keys() == case["parameter_gradients"].keys()
    same(torch.stack([g.norm() for g in gradients.values()]).norm(), case["grad_norm"])
    for name, expected in case["parameter_gradients"].items():
        same(gradients[name].norm(), expected["norm"])
        same(gradients[name].flatten()[-3:], expected["last"])


def test_greedy_decoding_of_legal_tokens(case, network, tokens):
    outputs = network.encoder(tokens).detach()
    decoded, log_probs = network.decoder.greedy(outputs, ALPHABET)
    assert decoded.tolist() == case["decoded_without_step"]
    same(log_probs[:, -1], case["decoded_without_step_last_log_probs"])
    wrong = (tokens != torch.tensor(case["decoded_without_step"])).sum().item()
    assert reconstruction_error(network, tokens, ALPHABET) == pytest.approx(wrong / tokens.numel())


def test_latent_steps(case, network, tokens):
    outputs = network.encoder(tokens).detach()
    direction = network.direction(outputs)
    for step in case["steps"]:
        after = moved(outputs, direction, step["lambda"] * (1 if step["direction"] == "+" else -1))
        same(after.abs().sum(), step["outputs_abs_sum"])
        same(summary(after)[:, :5], step["embedding_first"])
        same(summary(after).sum(dim=1), step["embedding_sum"])
        decoded, log_probs = network.decoder.greedy(after, ALPHABET)
        assert decoded.tolist() == step["decoded"]
        same(log_probs[:, 0], step["log_probs_first_step"])
    with torch.no_grad():
        uphill = network.encoder.value(moved(outputs, direction, 2.0))
        assert (uphill > network.encoder.value(outputs)).all()
