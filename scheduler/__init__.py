"""Who goes next, and where: a synchronous state machine, events in, commands out. Never awaits, never reads a clock."""
