"""How gpu IR is spelled in CUDA C, one part of the unit a file."""
