"""The benchmark: what it costs to build, keep and remove the path, beside other ways to build it."""
