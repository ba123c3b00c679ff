"""The one loop of delivery, on FastStream (design section 3)."""
