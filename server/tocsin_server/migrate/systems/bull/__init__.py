"""Jobs of Bull 4, read as Bull itself would run them; what BullMQ has in common with it is here, too."""
