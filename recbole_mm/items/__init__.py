"""What an encoder makes of the items of a catalogue."""
