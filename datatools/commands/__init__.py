"""The verbs of the command line, each a thin function: parse, import late, call, print."""
