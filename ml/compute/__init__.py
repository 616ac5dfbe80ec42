"""What makes loops fast, without any knowledge of graphs.

``compiling``: functions compiled by numba, with machine code kept on disk. ``simd``: vector
operations for them. ``threads``: pieces of an array on several threads. ``hashing``: random choices
without a state. ``searching``: binary searches.
"""
