"""Actions: steps of the route that touch more than tables.

One file is one step, and its name is the step's name: it reads photos from a source,
runs models, or writes a folder for people. An action module has

    VERSION: int             raised when the same inputs give another outcome
    OUTPUT: str | None       the table it makes, if it makes one
    INPUTS: tuple            tables (and logs) it reads
    settings(config)         what changes its outcome, as a JSON-like value
    intact(route) -> bool    whether what it made outside of the tables is still there
    run(route) -> int        does it, and returns the rows, photos or models it made
"""
