"""Policies and environments: the commands of the registry, worded as the tool that owns most registries words them."""
