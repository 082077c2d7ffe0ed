"""MOE07xx: IR text and verifier."""

TEXT = """
"""
