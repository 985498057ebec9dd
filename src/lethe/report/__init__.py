"""What a run found, for people: report.html and report.md, a model card, a table for the terminal."""

from lethe.report.card import write_model_card
from lethe.report.detection import detection_table, write_detection
from lethe.report.folder import load_folder, write_report
from lethe.report.headlines import write_headlines
from lethe.report.intake import intake_of
from lethe.report.orders import write_orders
from lethe.report.overview import write_overview
from lethe.report.terminal import attackers_table, headlines_table, terminal_table, trials_table

__all__ = [
    "attackers_table",
    "detection_table",
    "headlines_table",
    "intake_of",
    "load_folder",
    "terminal_table",
    "trials_table",
    "write_detection",
    "write_headlines",
    "write_model_card",
    "write_orders",
    "write_overview",
    "write_report",
]
