"""Building blocks for components: codecs, compression, paths, atomic files."""
