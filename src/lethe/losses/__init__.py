"""Pure functions on tensors: what is minimised to forget and to retain, with no model in sight.

A loss returns one value per example or per token, never a mean: whoever sums knows how many tokens the whole batch has.
"""
