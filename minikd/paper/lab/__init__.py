"""The laboratory: jobs, how they are done and kept, and how their results are judged. It knows no experiment."""
