"""Actions: steps of the route that touch more than tables.

One file is one step, and its name is the step's name: it reads photos from a source,
runs models, or writes a folder for people. An action module has

    OUTPUT: str | None       the table it makes, if it makes one
    INPUTS: tuple            tables (and logs) it reads
    settings(config)         what changes its outcome, as a JSON-like value
    run(route, recipe) -> Done | None
"""
