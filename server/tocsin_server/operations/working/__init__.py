"""Workers in processes of their own: what they are given, what they report, and who they are."""
