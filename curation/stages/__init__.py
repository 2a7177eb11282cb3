"""Stages: one file makes one table, and the file's name is the stage's name.

A stage module has

    VERSION: int          raise it when the same inputs would give another table
    OUTPUT: str           the table it makes (a key of `curation.schemas.SCHEMAS`)
    INPUTS: tuple         tables it reads
    ROWS: "map" | "reduce"
    Settings              frozen dataclass: just the settings that change its table
    settings(config)      Settings from a `curation.config.Dataset`
    run(inputs, settings) the table: a pure function, no paths, clock or network

and a reduce stage may have

    COLUMNS: dict         of inputs without photo_id, the columns that are enough

A *map* stage makes one row per photo from that photo alone, so that rows once made stay
good when photos are added. Its `run` gets `inputs["photos"]` with one more column,
`data` (binary: the photo's bytes), and must return a row for every row it is given;
what goes wrong with one photo is that row's `status` and `error`.
A *reduce* stage sees whole tables: only photos that decoded and were not taken down.
`inputs` is a dict of Arrow tables by name. Row order in the output is the stage's to
fix (sorted, never input order), so that equal inputs give equal bytes.
"""
