"""Lethe makes a trained model forget on request, and proves how far it forgot."""

__all__ = ["__version__"]

__version__ = "0.1.0"
