"""Jobs of Agenda 4, 5, 6 and @hokify/agenda, read from their MongoDB collection; docs/from-agenda.md has the rules."""
