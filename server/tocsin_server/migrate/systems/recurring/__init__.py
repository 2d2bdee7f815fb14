"""Rules by which another system makes jobs again and again, as schedules of this side."""
