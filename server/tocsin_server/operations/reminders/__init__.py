"""Reminder sets: scheduled, moved, shown and cancelled, and the fence that keeps a moved one from sending."""
