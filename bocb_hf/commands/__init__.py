"""Commands: one file a command of ``bocb``; may import every other room, and only ``cli`` and the recipes import it."""
