"""Jobs of Agenda, written and run by the npm packages themselves, read by Tocsin."""
