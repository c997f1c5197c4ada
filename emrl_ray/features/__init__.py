"""From crystals to numbers: element properties, pairs, graphs and kernels."""
