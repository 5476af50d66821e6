"""The two graphs of the method, what is found in them and what is said of them.

The semantic interaction graph joins clients and items (``interaction``), and items with each other (``moments``,
``item_model``); the user-similarity graph joins clients of like taste (``profiles``, ``similarity``). Communities of
the latter become segments that a merchandiser can read (``communities``, ``modularity``, ``segments``);
``statistics`` describes either.
"""
