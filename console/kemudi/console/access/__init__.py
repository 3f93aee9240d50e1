"""Who may do what in the console: sign-in, sessions, roles, tokens, and the gate in front of every route."""
