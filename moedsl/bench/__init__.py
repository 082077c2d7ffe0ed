"""The benchmark: named cases, rivals, and one honest way to time them side by side."""
