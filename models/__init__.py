"""Networks: the plan of a network, its stems and blocks, the weight-shared supernet, the chosen network."""
