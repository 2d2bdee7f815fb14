"""Templates, ours and the user's, and what fills them."""
