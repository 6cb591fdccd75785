"""Exported files: equal to the network they came from, at every batch size, and absent when they are not."""

import copy
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from models import export as exports
from models.export import ONNX_PACKAGES, ExportError, agreement, export_network, require_packages
from models.network import Network
from ops.genotype import Genotype

ROOT = Path(__file__).resolve().parents[2]
# Every operation at stride 1 and 2, on both inputs.
GENOTYPE = Genotype.from_lists([[0, 0, 1, 1, 0, 2, 1, 3, 2, 4, 0, 0, 1, 1, 3, 2, 0, 3, 1, 4]] * 2)
CLASSES = ["Café", "b c", *"defghijk"[:5]]
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def trained(stem: str = "full", antialias: str = "conv", blocks: tuple[int, ...] = (1, 1)) -> Network:
    """A network whose batch norms do not pass anything on as it is: scales of both signs, any mean and variance."""
    network = Network(GENOTYPE, blocks, 8, len(CLASSES), stem=stem, antialias=antialias)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight)
            nn.init.normal_(layer.bias)
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2)
    return network


def plain(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return copy.deepcopy(network).eval()(images)[0]


def write(network, folder, kind="pt2"):
    facts = {"image_size": 16, "statistics": {"mean": MEAN, "std": STD}}
    return export_network(network, folder, kind, facts=facts, classes=CLASSES, images=torch.randn(5, 3, 16, 16))


def read(path, kind):
    """The file as a function, and what it says of itself, by the libraries alone."""
    if kind == "onnx":
        session = pytest.importorskip("onnxruntime").InferenceSession(path)
        texts = session.get_modelmeta().custom_metadata_map
        run = lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])  # noqa: E731
        return run, {key: json.loads(text) for key, text in texts.items()}
    texts = {exports.METADATA: ""}
    return torch.export.load(path, extra_files=texts).module(), json.loads(texts[exports.METADATA])


CASES = [
    ("pt2", "quarter_blur", "conv", (1,)),
    ("pt2", "full", "none", (0, 1)),
    ("onnx", "full", "all", (1,)),
]


@pytest.mark.parametrize(("kind", "stem", "antialias", "blocks"), CASES)
def test_the_file_answers_as_the_network_for_any_number_of_images(kind, stem, antialias, blocks, tmp_path, capfd):
    try:
        require_packages(kind)
    except ExportError as error:
        pytest.skip(str(error))
    network, path = trained(stem, antialias, blocks), tmp_path / f"network.{kind}"
    network.train()
    before = copy.deepcopy(network.state_dict())
    report = write(network, tmp_path, kind)
    assert capfd.readouterr() == ("", "")
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    run, metadata = read(path, kind)
    for n in (1, 3, 32):
        images = torch.rand(n, 3, 16, 16)
        wanted = plain(network, images)
        with torch.no_grad():
            torch.testing.assert_close(run(images), wanted, rtol=1e-3, atol=1e-3 * wanted.abs().max().item())
    assert list(tmp_path.iterdir()) == [path]
    assert (report["path"], report["size_bytes"]) == (str(path), path.stat().st_size)
    assert 0 <= report["largest_difference"] < 0.01
    assert metadata == {
        "classes": CLASSES,
        "image_size": 16,
        "mean": list(MEAN),
        "std": list(STD),
        "arguments": json.loads(json.dumps(network.arguments())),
    }
    assert Network.from_arguments(metadata["arguments"]).genotype == GENOTYPE
    assert b"site-packages" not in path.read_bytes()  # nor other paths of this machine


def spoilt(network):
    network = copy.deepcopy(network)
    network.network.head.weight.data[0, 0] += 1
    return network


def test_a_file_that_answers_otherwise_is_not_left(tmp_path, monkeypatch):
    monkeypatch.setattr(exports, "folded", spoilt)
    path = tmp_path / "network.pt2"
    path.write_bytes(b"the one before")
    with pytest.raises(ExportError, match=r"network\.pt2 differs from the network") as error:
        write(trained(blocks=(0,)), tmp_path)
    assert len(str(error.value).splitlines()) == 1
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("network.pt2", b"the one before")]


def test_a_file_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(ExportError, match=r"network\.pt2 cannot be written as pt2") as error:
        write(trained(blocks=(0,)), tmp_path / "missing")
    assert len(str(error.value).splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_what_onnx_needs_is_named_with_the_file_that_installs_it(monkeypatch, tmp_path):
    monkeypatch.setattr(exports, "find_spec", lambda package: None if package == "onnxscript" else package)
    require_packages("pt2")
    with pytest.raises(ExportError, match=r"onnxscript: pip install -r requirements-optional\.txt"):
        write(trained(), tmp_path, "onnx")
    monkeypatch.setattr(exports, "find_spec", lambda package: package)
    monkeypatch.setattr(torch, "__version__", "2.6.0+cu124")
    with pytest.raises(ExportError, match=r"needs torch 2\.7 or newer, not 2\.6"):
        require_packages("onnx")
    assert not list(tmp_path.iterdir())
    names = (ROOT / "requirements-optional.txt").read_text()
    assert all(package in names for package in ONNX_PACKAGES)


def test_agreement_wants_close_logits():
    logits = torch.tensor([[4.0, 1.0], [1.0, 1.5]])
    assert agreement(logits, logits) == (0, True)
    assert agreement(logits + 0.003, logits)[1]
    assert not agreement(logits + 0.005, logits)[1]
    assert not agreement(logits * float("nan"), logits)[1]
    assert not agreement(logits[:1], logits)[1]
