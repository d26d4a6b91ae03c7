"""Fine-tuning: an encoder adapted to a catalogue's own pictures and texts before its features are extracted."""
