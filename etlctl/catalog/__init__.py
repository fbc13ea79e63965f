"""The catalogue: finds the components of the installed build, of plug-ins and of a workspace."""
