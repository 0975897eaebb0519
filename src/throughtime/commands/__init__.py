"""The commands of the command line, one file each; `cli` maps names to them."""
