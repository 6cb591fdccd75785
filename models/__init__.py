"""Networks: the plan of a network, its stems and cells, the weight-shared supernet, the chosen network."""
