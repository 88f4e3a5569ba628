"""Distil your own: from data and a teacher of any kind to a small network that runs anywhere."""
