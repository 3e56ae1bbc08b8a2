"""How ``diagnose`` tells what it found: as text, as messages."""
