"""Proto to domain and back. What comes in has been checked."""
