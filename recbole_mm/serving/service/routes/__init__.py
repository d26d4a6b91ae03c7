"""What the service answers, by path.

What takes a product of vectors at most runs in the event loop (``async def``), since handing it to a thread would take longer. Encoders,
pictures and whatever writes run in threads (``def``).
"""
