"""From text to a checked program: spans, diagnostics, syntax, parser, checker, formatter."""
