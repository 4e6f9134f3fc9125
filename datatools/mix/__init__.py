"""How much of which input a mixture takes, and in which order its rows stand."""
