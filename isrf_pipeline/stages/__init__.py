"""The stages of the nightly run, one module each; reading and writing tables happens here and nowhere else."""
