"""What runs kernels: one folder for each backend."""
