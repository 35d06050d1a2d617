"""The numerics of quantisation: one linear layer's weight [N out, K in] at a time, ``y = x @ W.T``."""
