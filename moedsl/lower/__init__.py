"""Passes, one verb_noun a file, listed in order in :mod:`moedsl.lower.pipeline`."""
