"""The lineage as OpenLineage events.

``events`` makes them of runs and tasks, page by page, ``ports`` names what each run reads and
writes, ``facets`` says what is known of it.
"""
