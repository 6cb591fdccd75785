"""Exported files: equal to the network they came from, at every batch size, and absent when they are not."""

import copy
import json
import sys

import pytest
import torch
from torch import nn

from engine.folding import fold_batch_norms
from models.network import Network
from models.staged import STEMS
from ops.genotype import Genotype
from ops.primitives import ANTIALIAS
from utils.reports import export as exports
from utils.reports import export_needs
from utils.reports.export import export, read_metadata
from utils.reports.export_needs import PACKAGES, SUFFIXES, ExportError, require_packages
from utils.system.errors import UsageError

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


def plain(network: nn.Module, images: torch.Tensor, *, normalise: bool) -> torch.Tensor:
    if normalise:
        images = torch.stack([(images[:, i] - MEAN[i]) / STD[i] for i in range(3)], dim=1)
    with torch.no_grad():
        return copy.deepcopy(network).eval()(images)[0]


def write(network, path, kind="torchscript", *, normalise=True, **more):
    given = {"image_size": 16, "classes": CLASSES, "mean": MEAN, "std": STD, "images": torch.rand(5, 3, 16, 16)}
    return export(network, path, kind, normalise=normalise, **{**given, "arguments": network.arguments(), **more})


def read(path, kind):
    """The file as a function, by the libraries alone."""
    if kind == "onnx":
        session = pytest.importorskip("onnxruntime").InferenceSession(path)
        return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
    return torch.jit.load(path) if kind == "torchscript" else torch.export.load(path).module()


CASES = [
    ("torchscript", "full", "none", True, (1, 1)),
    ("torchscript", "quarter", "conv", False, (0, 1)),
    ("pt2", "quarter_blur", "conv", True, (1,)),
    ("onnx", "full", "all", False, (1,)),
]


@pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated")
@pytest.mark.parametrize(("kind", "stem", "antialias", "normalise", "blocks"), CASES)
def test_the_file_answers_as_the_network_for_any_number_of_images(
    kind, stem, antialias, normalise, blocks, tmp_path, capfd
):
    for package in PACKAGES.get(kind, ()):
        pytest.importorskip(package)
    try:
        require_packages(kind)
    except ExportError as error:
        pytest.skip(str(error))
    network, path = trained(stem, antialias, blocks), tmp_path / "net.bin"
    network.train()
    before = copy.deepcopy(network.state_dict())
    report = write(network, path, kind, normalise=normalise)
    assert capfd.readouterr() == ("", "")
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    run = read(path, kind)
    for n in (1, 3, 32):
        images = torch.rand(n, 3, 16, 16)
        wanted = plain(network, images, normalise=normalise)
        with torch.no_grad():
            torch.testing.assert_close(run(images), wanted, rtol=1e-3, atol=1e-3 * wanted.abs().max().item())
    assert list(tmp_path.iterdir()) == [path]
    assert (report.path, report.size_bytes) == (path, path.stat().st_size)
    assert report.parameters == network.num_parameters - network.num_aux_parameters
    assert 0 <= report.largest_difference < 0.01
    assert {key: set(value) for key, value in report.latency_ms.items()} == {"file": {1, 32}, "eager": {1, 32}}
    metadata = read_metadata(path, kind)
    assert metadata == {
        "classes": CLASSES,
        "image_size": 16,
        "mean": list(MEAN),
        "std": list(STD),
        "normalise": normalise,
        "arguments": json.loads(json.dumps(network.arguments())),
    }
    assert Network.from_arguments(metadata["arguments"]).genotype == GENOTYPE
    assert b"site-packages" not in path.read_bytes()  # nor other paths of this machine


@pytest.mark.parametrize("stem", sorted(set(STEMS)))
@pytest.mark.parametrize("antialias", ANTIALIAS)
def test_folding_changes_nothing_and_leaves_no_norm_right_behind_a_convolution(stem, antialias):
    network = trained(stem, antialias).double().eval()
    images = torch.randn(3, 3, 17, 17, dtype=torch.float64)
    wanted = plain(network, images, normalise=False)
    norms = sum(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())
    folded = copy.deepcopy(network)
    count = fold_batch_norms(folded)
    torch.testing.assert_close(plain(folded, images, normalise=False), wanted, rtol=1e-10, atol=1e-10)

    made, left = [], []
    for layer in folded.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda _layer, _given, output: made.append(output))
        elif isinstance(layer, nn.BatchNorm2d):
            layer.register_forward_pre_hook(lambda _layer, given: left.append(given[0]))
    folded(images)
    assert len(left) == norms - count
    assert not any(given is output for given in left for output in made)
    assert count > norms / 2


@pytest.fixture
def _untimed(monkeypatch):
    monkeypatch.setattr(exports, "measure_latency", lambda network, images: 1.0)


@pytest.mark.usefixtures("_untimed")
def test_a_file_that_answers_otherwise_is_not_left(tmp_path, monkeypatch):
    def spoil(network):
        network.network.head.weight.data[0, 0] += 1
        return 0

    monkeypatch.setattr(exports, "fold_batch_norms", spoil)
    path = tmp_path / "net.bin"
    path.write_bytes(b"the one before")
    with pytest.raises(ExportError, match=r"net\.bin answers otherwise than the network") as error:
        write(trained(blocks=(0, 1)), path)
    assert len(str(error.value).splitlines()) == 1
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("net.bin", b"the one before")]


def test_what_cannot_be_exported_is_refused_in_a_line_and_leaves_nothing(tmp_path):
    network, broken = trained(blocks=(0, 1)), trained(blocks=(0, 1))
    broken.head.weight.data[0, 0] = float("nan")
    cases = [
        (network, "none of onnx", {"kind": "keras"}),
        (network, "7 classes apart, but 2", {"classes": ["a", "b"]}),
        (network, "not \\(N, 3, 32, 32\\)", {"image_size": 32}),
        (network, "not \\(N, 3, 16, 16\\)", {"images": torch.rand(0, 3, 16, 16)}),
        (network, "in \\[0, 1\\]", {"images": torch.randn(2, 3, 16, 16)}),
        (broken, "answers otherwise", {}),
    ]
    for given, words, flags in cases:
        with pytest.raises(ExportError, match=words) as error:
            write(given, tmp_path / "net.bin", **flags)
        assert isinstance(error.value, UsageError)
    with pytest.raises(ExportError, match=r"net\.bin cannot be written as torchscript") as error:
        write(network, tmp_path / "missing" / "net.bin")
    assert len(str(error.value).splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_what_can_be_asked_for_can_be_written_and_read():
    assert set(exports.FORMATS) == set(SUFFIXES)


def test_a_missing_package_is_named_and_only_onnx_needs_one(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for kind in SUFFIXES:
        if kind != "onnx":
            require_packages(kind)
    with pytest.raises(ExportError, match=r"onnxscript, onnxruntime: pip install .*onnxscript onnxruntime"):
        write(trained(), tmp_path / "net.onnx", "onnx")
    assert not list(tmp_path.iterdir())


ONNX_OF_OLD_TORCH = [
    ("2.6.0+cu124", "0.7.2", "4.25.3", True),
    ("2.6.0", "0.2.0", "7.36.2", True),
    ("2.6.0", "0.2.0", "4.25.3", False),
    ("2.14.1", "0.7.2", "7.36.2", False),
]


@pytest.mark.parametrize(("own", "onnxscript", "protobuf", "refused"), ONNX_OF_OLD_TORCH)
def test_onnx_from_an_old_torch_is_refused_at_once_with_packages_that_are_too_new(
    own, onnxscript, protobuf, refused, monkeypatch
):
    monkeypatch.setattr(torch, "__version__", own)
    monkeypatch.setattr(export_needs, "find_spec", lambda name: name)
    monkeypatch.setattr(export_needs, "version", {"onnxscript": onnxscript, "protobuf": protobuf}.get)
    for kind in SUFFIXES:
        if refused and kind == "onnx":
            with pytest.raises(ExportError, match=r'pip install "onnxscript<0.3" "protobuf<5", or torch 2.7 or newer'):
                require_packages(kind)
        else:
            require_packages(kind)


@pytest.mark.usefixtures("_untimed")
def test_wrappers_and_single_precision_are_seen_through(tmp_path):
    network = trained(blocks=(0, 1)).double()
    report = export(
        nn.DataParallel(network),
        tmp_path / "net.bin",
        "torchscript",
        image_size=16,
        classes=CLASSES,
        mean=MEAN,
        std=STD,
        normalise=False,
        images=torch.rand(2, 3, 16, 16, dtype=torch.float64),
        arguments=network.arguments(),
    )
    assert report.device == "cpu"
    assert next(network.parameters()).dtype == torch.float64
