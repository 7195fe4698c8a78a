"""What the whole suite shares."""

from hypothesis import settings

# Derandomized, a red run is red again; and a deadline would measure the machine, not the code.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")
