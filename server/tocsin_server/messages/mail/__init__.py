"""Writing mails and handing them over."""
