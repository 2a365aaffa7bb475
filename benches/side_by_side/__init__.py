"""The parts of benches/side-by-side."""
