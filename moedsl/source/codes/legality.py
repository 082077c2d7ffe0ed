"""MOE04xx: schedule legality on a target."""

TEXT = """
"""
