"""The flags of both scripts as two typed records. Nothing outside the scripts receives one of them.

A flag is written once, as a field of a dataclass: name, type, default, choices, help. The parser is made from it.
"""

from utils.config.common import BLOCKS, CommonConfig
from utils.config.retrain import DEFAULT_ARCH, RetrainConfig, parse_retrain
from utils.config.search import SHARED, SearchConfig, parse_search

__all__ = [
    "BLOCKS",
    "DEFAULT_ARCH",
    "SHARED",
    "CommonConfig",
    "RetrainConfig",
    "SearchConfig",
    "parse_retrain",
    "parse_search",
]
