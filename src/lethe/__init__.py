"""Lethe makes a trained model forget on request, and proves how far it forgot."""

__version__ = "0.1.0"
