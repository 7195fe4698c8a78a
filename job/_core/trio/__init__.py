"""Small tools on trio, each usable by itself."""
