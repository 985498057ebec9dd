"""Second-order unlearning as released code has it, in small: what the checks of `test_known_wrong_influence` reject."""

import numpy as np

Array = np.ndarray


def woodfisher_that_never_turns(gradients: Array, v: Array) -> Array:
    """OPTML-Group/Unlearn-Saliency: o is g_1 for ever, only shorter; (N, P), (P,) -> (P,)."""
    o, k = gradients[0], v
    for g in gradients[1:]:
        t = o @ g
        k = k - (k @ g) / (len(gradients) + t) * o
        o = o - t / (len(gradients) + t) * o
    return k


def influence_direction_with_the_forget_loader_twice(forget: Array, retain: Array, n_f: int, n_r: int) -> Array:
    """The same repository on ImageNet: the "retain" gradient is summed over the forget loader."""
    return forget / (n_f + n_r) - n_f / ((n_f + n_r) * n_r) * forget


def scif_with_a_plus(forget: Array, replaced: Array, mean: Array, count: int) -> Array:
    """The port of SCIF beside IFRU: the gradient of the mean loss is added where Newton's step takes it off."""
    return forget - replaced + count * mean
