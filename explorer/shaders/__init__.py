"""GLSL sources of the compositor, read as package data."""
