"""Jobs of BullMQ, read as BullMQ itself would run them."""
