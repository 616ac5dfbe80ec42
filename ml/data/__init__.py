"""From files to checked tables.

``tables``: the way in; ``preview``: a first look. ``files``, ``readers``, ``csv_rows``,
``parquet``: reading uploads.
``cells``, ``checks``, ``linking``: typed values, typed rows, events that end at nodes.
``quality``: the report; ``read_warnings``: what it warns of. ``frames``: tables on disk.
``synthesis``: a synthetic dataset of a ``population`` with known structure.
"""
