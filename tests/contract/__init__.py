"""What every store must do, from store/interface.py and nothing else. One file a verb; it runs on each provider."""
