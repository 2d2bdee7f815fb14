"""Writing mails and handing them over: settings, templates, messages, transports."""
