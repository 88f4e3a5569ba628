"""The laboratory: jobs, how they are run and kept, and how their results are judged."""
