"""How the lines of a drawing look, by the name of their operation."""

# The family by dashes and the kernel by weight, so that both survive print in gray; color only helps.
STYLES = {
    "shuffle_3x3": {"ls": "-", "lw": 0.7, "ec": "black"},
    "shuffle_5x5": {"ls": "-", "lw": 1.5, "ec": "black"},
    "avg_pool_3x3": {"ls": (0, (4, 1.6)), "lw": 0.9, "ec": "#0065a4"},
    "max_pool_3x3": {"ls": (0, (7, 1.5, 1.2, 1.5)), "lw": 0.9, "ec": "#0065a4"},
    "conv_1x1": {"ls": (0, (1, 1.1)), "lw": 1.1, "ec": "#a63f00"},
    "sep_conv_3x3": {"ls": "-", "lw": 0.7, "ec": "black"},
    "sep_conv_5x5": {"ls": "-", "lw": 1.5, "ec": "black"},
    "sep_conv_7x7": {"ls": "-", "lw": 2.1, "ec": "black"},
    "dil_conv_3x3": {"ls": (0, (2.2, 1.2)), "lw": 0.7, "ec": "#a63f00"},
    "dil_conv_5x5": {"ls": (0, (2.2, 1.2)), "lw": 1.5, "ec": "#a63f00"},
    "conv_7x1_1x7": {"ls": (0, (6, 1.2, 1, 1.2, 1, 1.2)), "lw": 1.1, "ec": "#a63f00"},
    "skip_connect": {"ls": (0, (1, 2.2)), "lw": 1.1, "ec": "0.35"},
    "identity": {"ls": (0, (1, 2.2)), "lw": 1.1, "ec": "0.35"},
    "nor_conv_1x1": {"ls": (0, (1, 1.1)), "lw": 1.1, "ec": "#a63f00"},
    "nor_conv_3x3": {"ls": "-", "lw": 0.7, "ec": "black"},
}
PLAIN = {"ls": "-", "lw": 0.7, "ec": "black"}  # an operation that has no style of its own
CONCAT = {"ls": "-", "lw": 0.6, "ec": "0.55"}
