"""What each layer of a model costs on one core, and the code that runs a layer, timed or trained."""

# General layout. A folder imports only from those below it; importing one needs no torch.
#
#   cli/         python -m profiler: options, what is printed
#   measure/     time and count a training step layer by layer → Profile
#   rounds/      what rounds of steps say: shares, how sure they are, when there have been enough
#   report/      tables of a profile; text, tables and figures that all packages share
#   capture/     nn.Module → the layer graph, with what no cut may separate
#   execution/   the one way to run layers, weight versions, slots and update rules
#   machine/     this machine, cores, memory, helper processes
#   profile/     the profile as data (a JSON file), and what follows: warnings
#   settings/    configuration files and update rules
#   files.py     read and write JSON files whole;  errors.py  what users are told, and
#   commands.py  what our commands are called there
#   python_arguments.py  check what users give in Python
