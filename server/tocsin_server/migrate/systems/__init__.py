"""Jobs of other systems, Bull, BullMQ and Agenda, read as those would run them, and brought in."""
