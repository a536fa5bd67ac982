"""The control plane: the only code with privileges. Imports shardns; shardns never imports it."""
