"""What a run found, for people: report.html and report.md, a model card, a table for the terminal."""

from lethe.report.card import write_model_card
from lethe.report.folder import load_folder, write_report
from lethe.report.terminal import terminal_table

__all__ = ["load_folder", "terminal_table", "write_model_card", "write_report"]
