"""What both kinds of reminders share: times as they are shown, rendering and sending."""
