"""What both kinds of reminders share: the fence, times as they are shown, rendering and sending."""
