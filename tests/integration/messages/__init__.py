"""Mails, text messages and reminders, from the call to what arrives."""
