"""Recurring schedules: what they are, and at which times they run. Pure reckoning."""
