"""A way in, a way across: jobs of another store, of Bull, BullMQ or Agenda, brought into this one."""
