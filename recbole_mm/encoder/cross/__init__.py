"""Pictures and texts that read each other, token by token, before they become rows."""
