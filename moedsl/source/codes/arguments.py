"""MOE05xx: arguments of a call."""

TEXT = """
"""
