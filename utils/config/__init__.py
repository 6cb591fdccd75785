"""The flags of both scripts as two typed records, and the parser that is made from them.

A flag is declared once, as a field of a dataclass: name, type, default, help. Which names a flag takes out of a table,
and which flags contradict each other, engine/configuration.py knows.
"""

from utils.config.common import BLOCKS, CommonConfig, JobsConfig
from utils.config.flags import flag, flags_in, make_parser, written_default
from utils.config.retrain import DEFAULT_ARCH, RETRAIN, RetrainConfig
from utils.config.search import SCRATCH, SEARCH, SHARED, FinalsConfig, SearchConfig

__all__ = [
    "BLOCKS",
    "DEFAULT_ARCH",
    "RETRAIN",
    "SCRATCH",
    "SEARCH",
    "SHARED",
    "CommonConfig",
    "FinalsConfig",
    "JobsConfig",
    "RetrainConfig",
    "SearchConfig",
    "flag",
    "flags_in",
    "make_parser",
    "written_default",
]
