"""MOE06xx: command line, rows and files."""

TEXT = """
"""
