"""The intermediate representation: what every dialect shares, and the moe and tile dialects."""
