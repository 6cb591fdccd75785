"""NAS-Bench-201: counts and numbers against a second reading of the paper, its notation, and a search of its space."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import retrainer_cifar
import train_search_cifar
from models.cost import network_cost
from models.network import Network
from models.proxies import PROXIES
from models.spec import NetworkSpec
from models.supernet import SuperNet
from ops.draw import draw
from ops.genotype import Genotype, GenotypeError, read_candidate
from ops.space import NASBENCH201
from tests.harness import only_run

pytestmark = pytest.mark.pictures
PUBLISHED = {  # for 10 classes, by its authors, who count the ten biases of the classifier as operations
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|": (
        1_531_546,
        220_119_690,
    ),
    "|none~0|+|none~0|skip_connect~1|+|none~0|avg_pool_3x3~1|none~2|": (73_306, 7_783_050),
}
SPEC = NetworkSpec((5, 5, 5), 16, 10, "single", space="nasbench201")
SMALL = NetworkSpec((1, 2, 1), 4, 3, "single", space="nasbench201")
encodings = st.lists(st.integers(0, 4), min_size=6, max_size=6)


def genotype(encoding) -> Genotype:
    return Genotype.from_lists([encoding], "network", "nasbench201")


@pytest.mark.parametrize("text", PUBLISHED)
def test_counts_are_the_published_ones(text):
    read = read_candidate(text).genotype
    parameters, operations = PUBLISHED[text]
    cost = network_cost(read, SPEC, 32)
    assert cost.parameters == parameters
    assert cost.macs + 10 == operations
    network = Network.of(read, SPEC)
    assert (network.num_parameters, network.macs(32)) == cost


@settings(max_examples=10, deadline=None)
@given(encodings, st.sampled_from([15, 16, 17]))
def test_the_sum_over_parts_is_the_cost_of_the_network(encoding, size):
    network = Network.of(genotype(encoding), SMALL)
    assert network_cost(genotype(encoding), SMALL, size) == (network.num_parameters, network.macs(size))


def by_the_paper(network: Network, encoding, x: torch.Tensor) -> torch.Tensor:
    """The logits of a network in evaluation, from its weights alone: section 2.1 of the paper, read a second time."""
    weights = network.state_dict()

    def norm(x, key):
        mean, var = weights[f"{key}.running_mean"], weights[f"{key}.running_var"]
        return F.batch_norm(x, mean, var, weights[f"{key}.weight"], weights[f"{key}.bias"])

    def operation(x, op, key):
        if op in (2, 3):
            return norm(F.conv2d(x.clamp(min=0), weights[f"{key}.1.weight"], padding=(op - 2)), f"{key}.2")
        if op == 4:  # the mean of what lies inside the map
            ones = torch.ones_like(x)
            return F.avg_pool2d(x, 3, 1, 1) / F.avg_pool2d(ones, 3, 1, 1)
        return x * op

    x, index = norm(F.conv2d(x, weights["stems.0.0.weight"], padding=1), "stems.0.1"), 0
    for stage, cells in enumerate(SMALL.blocks):
        for _cell in range(cells):
            key = f"blocks.{index}.edges"
            one = operation(x, encoding[0], f"{key}.0")
            two = operation(x, encoding[1], f"{key}.1") + operation(one, encoding[2], f"{key}.2")
            three = operation(x, encoding[3], f"{key}.3") + operation(one, encoding[4], f"{key}.4")
            x, index = three + operation(two, encoding[5], f"{key}.5"), index + 1
        if stage < len(SMALL.blocks) - 1:
            key = f"blocks.{index}.block"
            y = norm(F.conv2d(x.clamp(min=0), weights[f"{key}.first.1.weight"], stride=2, padding=1), f"{key}.first.2")
            y = operation(y, 3, f"{key}.second")
            x, index = y + F.conv2d(F.avg_pool2d(x, 2), weights[f"{key}.shortcut.weight"]), index + 1
    means = norm(x, "head.bn").clamp(min=0).mean((2, 3))
    return means @ weights["head.weight"].T + weights["head.bias"]


@settings(max_examples=15, deadline=None)
@given(encodings)
def test_numbers_are_those_of_the_paper_and_weights_are_inherited(encoding):
    torch.manual_seed(0)
    network = Network.of(genotype(encoding), SMALL).double()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values in (layer.weight, layer.bias, layer.running_mean):
                nn.init.normal_(values)
            nn.init.uniform_(layer.running_var, 0.5, 2)
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        logits = network.eval()(images)[0]
        torch.testing.assert_close(logits, by_the_paper(network, encoding, images), rtol=1e-12, atol=1e-12)
        supernet = SuperNet.of(SMALL, "network").double()
        child = supernet.inherit(genotype(encoding))
        torch.testing.assert_close(
            child.train()(images)[0], supernet(images, genotype(encoding))[0], rtol=1e-10, atol=1e-10
        )


@pytest.mark.parametrize("name", PROXIES)
def test_rankers_without_training_take_networks_of_this_space(name):
    torch.manual_seed(0)
    scores = []
    for encoding in ([3] * 6, [1, 1, 0, 1, 2, 1]):
        network = Network.of(genotype(encoding), SMALL)
        scores.append(PROXIES[name](network, torch.randn(6, 3, 16, 16)))
    assert scores[0] != scores[1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("|conv~0|+|none~0|none~1|+|none~0|none~1|none~2|", "node 1: operation 'conv' is none of none, skip_connect"),
        ("|none~1|+|none~0|none~1|+|none~0|none~1|none~2|", "node 1: 'none~1' reads no state before it"),
        ("|none~0|+|none~0|none~0|+|none~0|none~1|none~2|", "node 2: 'none~0' reads no state before it, or one that"),
        ("|none~0|+|none~0|none~1|+|none~0|none~1|", "has no edge from state 2 to 3"),
        ("|", "node 1: operation '' is none of"),
    ],
)
def test_what_is_no_cell_is_refused(text, said):
    with pytest.raises(GenotypeError, match=said):
        read_candidate(text)


def test_encodings_are_refused_by_their_edges():
    with pytest.raises(GenotypeError, match="cell 0, edge 1 to 2: 5, but the operations are 0 none, 1 skip_connect"):
        genotype([0, 0, 5, 0, 0, 0])
    with pytest.raises(GenotypeError, match="shared by network, not by type"):
        Genotype(((0,) * 6,) * 2, "type", "nasbench201")
    with pytest.raises(GenotypeError, match="takes 1 encoding, but 2"):
        Genotype(((0,) * 6,) * 2, "network", "nasbench201")


def test_a_drawing_has_the_operations_but_zeros():
    names = dict(enumerate(NASBENCH201.operations))
    (axes,) = draw(genotype([0, 1, 2, 3, 4, 0])).axes
    written = {"_".join(text.get_text().split()) for text in axes.texts}
    assert [name in written for name in names.values()] == [False, True, True, True, True]


SEARCH = ["--space", "nasbench201", "--data", "digits", "--train_images", "120", "--blocks", "[1,1]", "--epochs", "2"]
SEARCH += ["--child_out_filters", "4", "--batch_size", "30", "--controller_steps", "2", "--valid_steps", "1"]
SEARCH += ["--derive_samples", "3", "--top_k", "2", "--recipe", "tuned", "--drop_prob", "0.2", "--device", "cpu"]
SEARCH += ["--finals", "0"]


def test_a_search_of_the_space_and_a_retraining_that_inherits(tmp_path):
    assert train_search_cifar.main([*SEARCH, "--result", str(tmp_path)]) == 0
    run = only_run(tmp_path, "search")
    arch = ["--arch", f"{run / 'genotypes.json'}#1", "--inherit", str(run), "--result", str(tmp_path)]
    small = "--data digits --train_images 120 --epochs 1 --child_out_filters 4 --device cpu".split()
    assert retrainer_cifar.main([*arch, *small, "--batch_size", "30"]) == 0
    assert (only_run(tmp_path, "retrain") / "result.json").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--searcher", "darts"], "--searcher darts does not search --space nasbench201"),
        (["--sharing", "type"], "--sharing type: --space nasbench201 shares its cells by network"),
        (["--controller", "enas"], "--controller: --space nasbench201 has one of its own"),
        (["--layers", "4"], "--layers: --space nasbench201 has stages: give --blocks"),
    ],
)
def test_flags_of_other_spaces_are_refused(words, said, capsys):
    with pytest.raises(SystemExit) as end:
        train_search_cifar.main([*SEARCH, *words])
    assert end.value.code == 2
    assert said in capsys.readouterr().err
