"""The data sets that are prepared, by name; those that are more than class folders have a file of their own."""

from data.prepare import flowers102, mit67, plantvillage
from data.prepare.class_names import AID, NWPU, SPORT8
from data.prepare.reading import DataSet
from data.prepare.rules import Rule

RATIO = {"ratio": Rule("--train_ratio of each class, seeded")}
SPORT8_RULES = {"80-20": Rule("80 % of each class, seeded, as NAS papers: 1261 / 318")}
SETS = {
    "aid": DataSet(AID, (10000,), RATIO, ratio=0.5),
    "nwpu": DataSet(NWPU, (31500,), RATIO, ratio=0.2),
    "sport8": DataSet(SPORT8, (1579,), SPORT8_RULES),
    "mit67": mit67.SET,
    "flowers102": flowers102.SET,
    "plantvillage": plantvillage.SET,
}
ALIASES = {"flowers": "flowers102", "nwpuresisc45": "nwpu", "resisc45": "nwpu", "nwpu45": "nwpu"}
