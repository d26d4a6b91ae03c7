"""A large encoder made small: its least important parts taken out, or a small one taught to give its rows."""
