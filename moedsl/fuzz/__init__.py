"""The fuzzer: random extents, rows, layouts, data and legal schedules, on any backend.

:func:`moedsl.fuzz.hunt.fuzz` draws cases, :func:`moedsl.fuzz.trial.try_case` runs one and
judges it, :mod:`moedsl.fuzz.case` writes cases down and reads them back.
"""
