"""What the notebooks use: exercises, sliders, and a runner."""
