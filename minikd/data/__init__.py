"""What networks learn from: images, frames of a signal, and a teacher's soft targets."""
