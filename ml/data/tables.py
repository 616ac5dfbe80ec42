"""The checked tables of a dataset."""

from ml.data.frames import Tables, event_counts, load_tables, make_tables, save_tables

__all__ = ["Tables", "event_counts", "load_tables", "make_tables", "save_tables"]
