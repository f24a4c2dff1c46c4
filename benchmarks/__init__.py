"""What is measured, how, and the results by machine (`benchmarks/results/`)."""
