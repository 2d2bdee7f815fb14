"""The ways out to people: mail and text messages, the templates they are made of, and who was reached by them."""
