"""Parts of the benchmarks; each benchmark beside this folder is a script."""
