"""Claims of papers, measured in miniature: one file per claim, each run on its own by `lethe bench headlines`.

A headline is a function `name(*, seed: int) -> {figure: value}` decorated with `@headline`; the first line of its
docstring is the claim. `expects` says for some figures what the claim implies: (">=" or "<=", number). The runner
calls it for several seeds and reports every figure with its interval over them; a claim holds only where the whole
interval of each expected figure does.
"""
